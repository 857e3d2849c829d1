"""Whether a plugin may do what it requests, by its granted permissions alone."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from orchestration_project.domains.plugins.manifest import (
    HostPermission,
    Permissions,
)
from orchestration_project.domains.plugins.protocol import (
    Act,
    Answer,
    Emit,
    Fetch,
    Message,
    Page,
    Publish,
    Read,
)

PLACEHOLDER = re.compile(r"\{\{secret:([A-Z][A-Z0-9_]{0,39})\}\}")
OWN_HEADERS = frozenset(
    (
        *("host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te"),
        *("upgrade", "proxy-authorization", "proxy-connection", "expect", "trailer"),
        "keep-alive",
    )
)
"""Headers that the host alone sets."""

PARTIAL_HEADERS = frozenset(("range", "if-range", "request-range"))
"""Headers that request a part of a body, which could end within a secret."""

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
MAX_PAGE_CHARACTERS = 200_000
ANSWER_TYPES = ("application/json", "text/plain", "text/csv")
MAX_TARGET_CHARACTERS = 300
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_PORT = 65_535
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+)(:(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#\s\\]*)?(\?[^#\s\\]*)?(#[^\s\\]*)?",
    re.IGNORECASE | re.ASCII,
)
"""URLs that all programs read alike: without user and password, of an ASCII host."""

ACTION_FIELDS = frozenset(("method", "url", "headers", "body"))

VIOLATIONS_TO_DISABLE = 3
RUNS_OF_VIOLATIONS = 20
"""A plugin with so many violations in so many of its latest runs is disabled."""


class Refusal(NamedTuple):
    """A refused message of a plugin.

    Attributes:
        permission: The permission that it lacks, as in plugin.yaml.
        reason: What was expected and found, without secrets.
    """

    permission: str
    reason: str


@dataclass(frozen=True)
class Judge:
    """Judges the calls of a plugin.

    Attributes:
        permissions: What was granted.
        call: ``run``, or ``endpoint``, which may only read and answer.
    """

    permissions: Permissions
    call: str = "run"

    def refusal(self, message: Message) -> Refusal | None:
        """Return why a message is refused; None: it is allowed."""
        if self.call == "endpoint" and isinstance(message, Fetch | Emit | Publish | Act | Page):
            kind = type(message).__name__.lower()
            return Refusal("endpoints", f"expected read, log and answer alone, found {kind}")
        match message:
            case Fetch():
                return self.fetch_refusal(message)
            case Read():
                return self._read_refusal(message)
            case Act():
                return self._act_refusal(message)
            case _:
                return self._output_refusal(message)

    def _output_refusal(self, message: Message) -> Refusal | None:
        """Return why what is written or shown is refused."""
        match message:
            case Emit():
                return _check_granted("tables", message.table, self.permissions.tables)
            case Publish():
                return _check_granted("topics", message.topic, self.permissions.topics)
            case Page():
                return self._page_refusal(message)
            case Answer():
                return self._answer_refusal(message)
            case _:
                return None

    def fetch_refusal(self, message: Fetch) -> Refusal | None:
        """Return why a request is refused; None: it is allowed, with the secrets that it names."""
        pair = authority_of(message.url)
        if pair is None:
            return Refusal("hosts", "expected an http or https URL without user and password")
        scheme, authority = pair
        host = next(
            (
                host_permission
                for host_permission in self.permissions.hosts
                if host_permission.scheme == scheme and _add_port(host_permission) == authority
            ),
            None,
        )
        if host is None:
            granted = ", ".join(
                f"{host_permission.scheme}://{host_permission.host}"
                for host_permission in self.permissions.hosts
            )
            return Refusal(
                "hosts", f"expected one of {granted or 'no hosts'}, found {scheme}://{authority}"
            )
        if message.method not in host.methods:
            return Refusal(
                "hosts",
                f"expected {', '.join(host.methods)} of {host.host}, "
                f"found {ascii(message.method)[1:-1]}",
            )
        if refusal := _check_headers(message.headers):
            return refusal
        return self._secret_refusal(message, host)

    def _secret_refusal(self, message: Fetch, host: HostPermission) -> Refusal | None:
        if message.body is not None and PLACEHOLDER.search(message.body):
            return Refusal("secrets", "expected {{secret:NAME}} in a header or the URL, not a body")
        granted = {secret.name for secret in self.permissions.secrets if secret.host == host.host}
        for name in secret_names(message):
            if name not in granted:
                return Refusal(
                    "secrets", f"expected a secret granted for {host.host}, found {name}"
                )
        return None

    def _read_refusal(self, message: Read) -> Refusal | None:
        query = self.permissions.read(message.query)
        if query is None:
            return _check_granted(
                "reads", message.query, [read.name for read in self.permissions.reads]
            )
        for name in message.parameters:
            if name not in query.filters:
                return _check_granted(f"reads.{query.name}.filters", name, query.filters)
        return None

    def _act_refusal(self, message: Act) -> Refusal | None:
        action = next(
            (
                action_permission
                for action_permission in self.permissions.actions
                if action_permission.name == message.action
            ),
            None,
        )
        if action is None:
            names = [action_permission.name for action_permission in self.permissions.actions]
            return _check_granted("actions", message.action, names)
        request = request_of(message.fields)
        if request is None:
            return Refusal(
                "actions", "expected fields method, url, headers and body of a request, e.g. POST"
            )
        refusal = self.fetch_refusal(request)
        if refusal is not None:
            return refusal
        authority = authority_of(request.url)
        host_permission = next(host for host in self.permissions.hosts if host.host == action.host)
        if authority is None or authority[1] != _add_port(host_permission):
            return Refusal("actions", f"expected the host {action.host} of {action.name}")
        return None

    def _page_refusal(self, message: Page) -> Refusal | None:
        if len(message.content) > MAX_PAGE_CHARACTERS:
            return Refusal("pages", f"expected at most {MAX_PAGE_CHARACTERS:,} characters")
        return _check_granted("pages", message.format, self.permissions.pages)

    def _answer_refusal(self, message: Answer) -> Refusal | None:
        if self.call != "endpoint":
            return Refusal("endpoints", "expected an answer to a request of an endpoint alone")
        return _check_granted("endpoints.content_type", message.content_type, ANSWER_TYPES)


def request_of(fields: Mapping[str, Any]) -> Fetch | None:
    """Return the request that the fields of an action are; None: they are not one."""
    headers, body = fields.get("headers", {}), fields.get("body")
    method, url = fields.get("method", "POST"), fields.get("url")
    is_valid = (
        fields.keys() <= ACTION_FIELDS
        and isinstance(url, str)
        and isinstance(method, str)
        and isinstance(headers, dict)
        and all(isinstance(header, str) for header in headers.values())
        and (body is None or isinstance(body, str))
    )
    if not is_valid or not isinstance(url, str):
        return None
    return Fetch(1, url, str(method), headers, body)


def secret_names(message: Fetch) -> list[str]:
    """Return the names of the secrets that a request is to get, each once."""
    texts = [message.url, *message.headers.values()]
    return list(dict.fromkeys(name for text in texts for name in PLACEHOLDER.findall(text)))


def filled(message: Fetch, value_of: Callable[[str], str], quoted: Callable[[str], str]) -> Fetch:
    """Return a request with its secrets, which no plugin may see.

    Args:
        message: An allowed request.
        value_of: Returns the value of a secret by its name.
        quoted: Escapes a value for a URL.
    """
    return Fetch(
        message.id,
        PLACEHOLDER.sub(lambda found: quoted(value_of(found[1])), message.url),
        message.method,
        {
            name: PLACEHOLDER.sub(lambda found: value_of(found[1]), value)
            for name, value in message.headers.items()
        },
        message.body,
    )


def target_of(message: Message) -> tuple[str, str]:
    """Return kind and target of a call as they are recorded: without query and secrets."""
    match message:
        case Fetch():
            return "fetch", shown_url(message.url)
        case Read():
            return "read", message.query
        case Emit():
            return "emit", message.table
        case Publish():
            return "publish", message.topic
        case Act():
            return "act", message.action
        case Page():
            return "page", message.format[:MAX_TARGET_CHARACTERS]
        case Answer():
            return "endpoint", message.content_type
        case _:
            return "log", ""


def shown_url(url: str) -> str:
    """Return a URL without user, query and fragment."""
    pair = authority_of(url)
    if pair is None:
        return "(invalid URL)"
    scheme, authority = pair
    matched = URL.fullmatch(url)
    path = (matched["path"] if matched else "") or "/"
    return f"{scheme}://{authority}{path}".encode("ascii", "backslashreplace").decode()[
        :MAX_TARGET_CHARACTERS
    ]


def authority_of(url: str) -> tuple[str, str] | None:
    """Return scheme and host:port of a URL; None: it is not one that every program reads so."""
    match = URL.fullmatch(url)
    if match is None or not url.isprintable():
        return None
    scheme, port = match["scheme"].lower(), int(match["port"] or 0)
    if port > MAX_PORT:
        return None
    return scheme, f"{match['host'].lower()}:{port or DEFAULT_PORTS[scheme]}"


def _add_port(host: HostPermission) -> str:
    name, has_port, port = host.host.partition(":")
    return f"{name}:{port if has_port else DEFAULT_PORTS[host.scheme]}"


def _check_headers(headers: Mapping[str, str]) -> Refusal | None:
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name) or not value.isascii() or not value.isprintable():
            return Refusal("hosts", "expected headers of printable ASCII")
        if name.lower() in OWN_HEADERS:
            return Refusal("hosts", f"expected headers that the host does not set, found {name}")
        if name.lower() in PARTIAL_HEADERS:
            return Refusal("hosts", f"expected a request for a whole body, found {name}")
    return None


def _check_granted(permission: str, name: str, granted: Sequence[Any]) -> Refusal | None:
    if name in granted:
        return None
    text = ", ".join(map(str, granted)) or "none"
    return Refusal(permission, f"expected one of {text}, found {ascii(name)[1:-1]}")
