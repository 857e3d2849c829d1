"""Hosts of a network on one machine: each has its network namespace, host name and link."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)  # noqa: S603, S607


@cache
def can_make_namespaces() -> bool:
    """Whether this user may make network namespaces with links here."""
    if os.geteuid() or not shutil.which("ip"):
        return False
    name = f"probe{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", f"p{os.getpid()}", "type", "veth", "peer", "name", "e", "netns", name)
        _ip("netns", "del", name)
    except subprocess.CalledProcessError:
        return False
    return True


requires_namespaces = pytest.mark.skipif(
    not can_make_namespaces(), reason="network namespaces cannot be made here"
)


class Link:
    """A host's only way to the services.

    Attributes:
        host: Host name, which its programs see.
        namespace: Its network namespace, in /run/netns.
    """

    def __init__(self, host: str, number: int, third: int) -> None:
        self.host = host
        self.namespace = f"n{third}-{host}"
        self._device = f"v{third}-{number}"
        here, there = (f"10.213.{third}.{4 * number + version}" for version in (1, 2))
        _ip("netns", "add", self.namespace)
        peer = ("peer", "name", "eth0", "netns", self.namespace)
        _ip("link", "add", self._device, "type", "veth", *peer)
        _ip("addr", "add", f"{here}/30", "dev", self._device)
        _ip("link", "set", self._device, "up")
        inside = ("-n", self.namespace)
        _ip(*inside, "addr", "add", f"{there}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip(*inside, "link", "set", device, "up")
        self._route = (*inside, "route", "replace", "default", "via", here)
        _ip(*self._route)

    def cut(self) -> None:
        """Cut the network: packets are lost, and no connection is reset."""
        _ip("link", "set", self._device, "down")

    def heal(self) -> None:
        """Connect it again."""
        _ip("link", "set", self._device, "up")
        _ip(*self._route)

    def remove(self) -> None:
        """Remove the host's network."""
        _ip("netns", "del", self.namespace)


class Network:
    """Network of a test.

    Attributes:
        address: Address of the services, which run in the namespace of the test.
    """

    def __init__(self) -> None:
        self._third = os.getpid() % 250 + 1
        self.address = f"10.213.{self._third}.1"
        self._links: list[Link] = []

    def add_host(self, host: str) -> Link:
        """Connect another host."""
        link = Link(host, len(self._links) + 1, self._third)
        self._links.append(link)
        return link


@contextmanager
def network() -> Iterator[Network]:
    """Make a network, and remove it and its hosts."""
    made = Network()
    own = (f"{made.address}/32", "dev", "lo")
    _ip("addr", "add", *own)
    try:
        yield made
    finally:
        for link in made._links:
            link.remove()
        _ip("addr", "del", *own)
