"""Guard of requests to URLs that users declare: no way into this machine or a private network.

A name is resolved once, each of its addresses is checked, and the connection goes to a checked one:
a name that resolves to another address a moment later (DNS rebinding) gains nothing.
"""

import re
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from orchestration_project.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host name and port; raises OSError if there are none."""

PORTS = {"http": 80, "https": 443}
VALID_PORTS = range(1, 65536)
HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last part of a name that some resolvers read as a number: 0x7f.1 is 127.0.0.1 for them."""

NAT64 = ip_network("64:ff9b::/96")
NEVER_GLOBAL = tuple(
    ip_network(name)
    for name in (
        *("192.88.99.0/24", "2002::/16", "2001::/32"),  # 6to4 and Teredo: IPv4 within
        *("::/96", "64:ff9b:1::/48", "fec0::/10", "5f00::/16"),  # Python's table is an old one
        *("192.0.0.0/24", "100:0:0:1::/64", "3fff::/20"),
        "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765): IPv4 within
    )
)
"""Networks that are never allowed by default, beside those that `ipaddress` calls not global.

The source is IANA's registries of special-purpose IPv4 and IPv6 addresses.
"""

PLAIN_URL = re.compile(r"(https?://[a-z0-9.-]{1,253}(?::[0-9]{1,5})?/)[!-\[\]-~]{0,4000}")
"""URL whose group alone decides where it leads: no credentials, backslash or blank is in it."""

EXPECTED = "an http or https URL of a host, e.g. https://hooks.example.org/path"


@dataclass(frozen=True)
class Endpoint:
    """Server that a URL leads to.

    Attributes:
        scheme: http or https.
        host: Name in lower case and ASCII, without a trailing dot; or an IP address.
        port: Of TCP.
        address: The host, if it is an IP address.
    """

    scheme: str
    host: str
    port: int
    address: Address | None


class AddressGuard:
    """Checks outgoing requests; `HttpClient(guard=…)` sends none that it refuses.

    A service that requests URLs which users declare makes its client so, and checks each URL where
    it is declared, too, to refuse it early::

        guard = address_guard(settings)  # orchestration_project.engine.environment
        guard.check(url)
        HttpClient(..., guard=guard)

    `HttpClient` follows no redirect. A caller that follows one requests its target by the same
    client, so that it is checked like the first. Systems whose URLs the operator sets, such as
    FINRA_API_URL or JIRA_URL, need no guard.

    Args:
        allow: What may be requested although it is not global: networks (CIDR), IP addresses or
            host names. A host name is allowed whatever it resolves to.
        ports: Ports that may be requested; None: all.
        ports_setting: Setting that allows further ports.
        endpoints: Servers, as host:port with an IP address, that may be requested although neither
            their address nor their port may, such as the demo's.
        proxies: Proxies, as host:port, that refuse such addresses themselves. A proxy resolves
            names, so that nothing here can check them; any other one is refused.
        resolve: Resolves names.

    Raises:
        ValueError: An entry of ``allow`` is neither a network nor a host name.
    """

    def __init__(
        self,
        *,
        allow: Collection[str] = (),
        ports: Collection[int] | None = None,
        ports_setting: str = "",
        endpoints: Collection[str] = (),
        proxies: Collection[str] = (),
        resolve: Resolve | None = None,
    ) -> None:
        networks = {name: _parse_network(name) for name in allow}
        self._networks = [item for item in networks.values() if item is not None]
        self._hosts = {
            _normalise_host(name) for name, network in networks.items() if network is None
        }
        self._ports = ports
        self._ports_setting = ports_setting
        self._endpoints = frozenset(endpoints)
        self._proxies = {proxy.lower() for proxy in proxies}
        self._resolve = resolve or resolve_host

    def check(self, url: str) -> Endpoint:
        """Return where ``url`` leads, without resolving a name.

        Raises:
            ConfigurationError: It is not an URL for HTTP, has credentials, is written so that
                programs read different hosts in it, or its port or IP address is refused.
        """
        endpoint = _parse_endpoint(url)
        if self._is_excepted(endpoint):
            return endpoint
        if self._ports is not None and endpoint.port not in self._ports:
            raise ConfigurationError(
                f"the request to {endpoint.host} is refused: its port is not allowed",
                expected=f"port {', '.join(map(str, sorted(self._ports)))}",
                found=str(endpoint.port),
                remedy=f"correct the URL, or add its port to {self._ports_setting}",
            )
        if endpoint.address is not None:
            self._refuse_private(endpoint, [endpoint.address])
        return endpoint

    def addresses(self, endpoint: Endpoint) -> Sequence[str]:
        """Return the addresses of ``endpoint``, resolved now: to them alone it may connect.

        Raises:
            ConfigurationError: One of them is refused.
            OSError: The name does not resolve.
        """
        if endpoint.address is not None:
            if not self._is_excepted(endpoint):
                self._refuse_private(endpoint, [endpoint.address])
            return [str(endpoint.address)]
        ip_addresses = [ip_address(name) for name in self._resolve(endpoint.host, endpoint.port)]
        if not ip_addresses:
            raise OSError(f"{endpoint.host} has no address")
        if endpoint.host not in self._hosts:
            self._refuse_private(endpoint, ip_addresses)
        return list(dict.fromkeys(str(address) for address in ip_addresses))

    def check_proxy(self, endpoint: Endpoint, proxy: str) -> None:
        """Refuse a request by way of ``proxy``, host:port, unless it is one that checks addresses.

        Raises:
            ConfigurationError: It is another one.
        """
        if proxy.lower() not in self._proxies:
            raise ConfigurationError(
                f"the request to {endpoint.host} would go by way of a proxy",
                expected="no proxy, or one that refuses private addresses itself",
                found=proxy,
                remedy="name it in HTTP_FILTERING_PROXIES if it does; or except the host by "
                "NO_PROXY",
            )

    def _is_excepted(self, endpoint: Endpoint) -> bool:
        return f"{endpoint.host}:{endpoint.port}" in self._endpoints

    def _refuse_private(self, endpoint: Endpoint, addresses: Sequence[Address]) -> None:
        refused = [address for address in addresses if not self._is_allowed(address)]
        if refused:
            raise ConfigurationError(
                f"the request to {endpoint.host} is refused: its address is not global",
                expected="addresses of the internet, or of HTTP_ALLOWED_NETWORKS",
                found=", ".join(str(item) for item in refused),
                remedy="correct the URL; or add the network of a server that may be requested to "
                "HTTP_ALLOWED_NETWORKS",
            )

    def _is_allowed(self, address: Address) -> bool:
        meant = _resolve_ipv4(address)
        return is_global(meant) or any(meant in network for network in self._networks)


def _parse_endpoint(url: str) -> Endpoint:
    """Return where ``url`` leads.

    Raises:
        ConfigurationError: As `AddressGuard.check` says, its port and address apart.
    """
    plain = PLAIN_URL.fullmatch(url)
    return _parse_url(plain[1] if plain else url)


@lru_cache(maxsize=100)
def _parse_url(url: str) -> Endpoint:
    """Return the endpoint of a URL; each request, and each page of a site, has the same one."""
    import httpx

    try:
        parsed = httpx.URL(url)
        host = _normalise_host(parsed.raw_host.decode())
        port = parsed.port if parsed.port is not None else PORTS[parsed.scheme]
        if parsed.userinfo or "\\" in url or not url.isprintable() or port not in VALID_PORTS:
            raise ValueError("credentials, \\, an invisible character or an invalid port")
        return Endpoint(parsed.scheme, host, port, _parse_address(host))
    except (httpx.InvalidURL, ValueError, KeyError):  # their texts quote the URL with its token
        raise ConfigurationError(
            "invalid URL of a request",
            expected=f"{EXPECTED}; without user, password, and numbers in place of a name",
            remedy="correct the URL",
        ) from None


def is_global(address: Address) -> bool:
    """Whether an address is one host's of the internet, and none of a private network's."""
    meant = _resolve_ipv4(address)
    return (
        meant.is_global
        and not meant.is_multicast
        and not any(meant in network for network in NEVER_GLOBAL)
    )


def resolve_host(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, as the operating system resolves it.

    Raises:
        OSError: It has none, or no server answers.
    """
    getaddrinfo = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in getaddrinfo]


def _resolve_ipv4(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _normalise_host(host: str) -> str:
    """Return a host in one spelling: lower case, without a trailing dot."""
    return host.lower().removesuffix(".")


def _parse_address(host: str) -> Address | None:
    """Return the IP address that ``host`` is; None: a name.

    Raises:
        ValueError: It is neither, or an address in an unusual notation.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a zone")
        return IPv6Address(host)
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        return IPv4Address(host)
    if not HOST_NAME.fullmatch(host):
        raise ValueError("not a host name")
    return None


def _parse_network(entry: str) -> IPv4Network | IPv6Network | None:
    """Return a network; None: a host name.

    Raises:
        ValueError: It is neither.
    """
    with suppress(ValueError):
        return ip_network(entry)
    with suppress(ValueError):
        if _parse_address(_normalise_host(entry)) is None:
            return None
    expected = "expected a network, an IP address or a host name, e.g. 10.0.0.0/8"
    raise ValueError(f"invalid address to allow: {expected}; found {entry}")
