"""Sources of webhooks, as `webhooks.yaml` declares them, and what is read of their deliveries."""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from sqlalchemy import Table
from yaml import YAMLError

from orchestration_project.engine.contracts.subjects import IdentifyingColumn, Key, SubjectKind
from orchestration_project.engine.contracts.webhooks.schemes import SCHEMES, Headers, Place, Scheme
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import (
    located,
    read_yaml,
    syntax_problem,
    value_problems,
)
from orchestration_project.tables.schema import HISTORY
from orchestration_project.tables.spine import DELIVERY_TOPICS, inbox, work_items
from orchestration_project.tables.webhooks import events_webhooks

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)

PLAIN = re.compile(r"[!-~]{1,200}", re.ASCII)
"""A delivery's id, or its kind: what a log line, a tag and a key can hold."""

HEADER = r"^[A-Za-z0-9-]{1,100}$"

SHORTEST_SECRET_BYTES = 16
"""Minimum bytes of a key: a shorter one can be guessed from one intercepted delivery."""

HOPS_HEADER = "webhook-hops"
"""Header of routed requests: the rules that the data went through, comma-separated."""

ALWAYS_KEPT = ("content-type", "user-agent", HOPS_HEADER)

SubjectName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
TargetName = SubjectName
MemberPath = Annotated[str, StringConstraints(min_length=1, max_length=200)]

EXPECTED = "sources: <name>: {scheme: ..., job: ...}; see docs/how-to/receive-webhooks.md"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DeliveryId(_Strict):
    """Place of a delivery's id: a header, or a field of the JSON body."""

    header: str | None = Field(default=None, pattern=HEADER)
    field: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.header is None) == (self.field is None):
            raise ValueError("expected either a header or a field")
        return self

    @property
    def place(self) -> Place:
        """The same as a place."""
        if self.header is not None:
            return Place(self.header.lower())
        return Place(path=tuple(str(self.field).split(".")))


class WebhookSource(_Strict):
    """Declaration of a source.

    Attributes:
        scheme: Name of the signature scheme.
        job: Job that processes deliveries; without one they are only stored.
        requests_per_second: Rate of signed deliveries above which the answer is 429.
        max_attempts: Failed runs after which a delivery is dead.
        in_order: Whether a delivery waits for the one before it.
        delivery_id: Place of the id, `{header: X-Id}` or `{field: data.id}`; default: the scheme's.
        signature_header: Header with the signature; default: the scheme's.
        id_header: Header with the id, such as `svix-id`; default: the scheme's.
        timestamp_header: Header with the signed time, such as `svix-timestamp`; default: the
            scheme's.
        subjects: Where the body has the identifier of whom or what it is about, by kind of
            subject: `{person: data.customer.email}`. An erasure deletes such deliveries.
    """

    scheme: str = Field(json_schema_extra={"enum": list(SCHEMES)})
    job: str | None = None
    requests_per_second: int = Field(default=100, ge=1)
    max_attempts: int = Field(default=3, ge=1, le=20)
    in_order: bool = True
    delivery_id: DeliveryId | None = None
    signature_header: str | None = Field(default=None, pattern=HEADER)
    id_header: str | None = Field(default=None, pattern=HEADER)
    timestamp_header: str | None = Field(default=None, pattern=HEADER)
    subjects: dict[SubjectName, MemberPath] = Field(default={})

    @model_validator(mode="after")
    def _of_a_known_scheme(self) -> Self:
        if self.scheme not in SCHEMES:
            raise ValueError(f"expected scheme one of {', '.join(SCHEMES)}, found {self.scheme!r}")
        for field, of_scheme, other in self._header_names():
            if other and not of_scheme:
                raise ValueError(
                    f"expected no {field}, as scheme {self.scheme} has no such header, "
                    f"found {other!r}"
                )
        return self

    def _header_names(self) -> Sequence[tuple[str, str, str | None]]:
        """Return each field that renames a header, the scheme's header and the other name."""
        scheme = SCHEMES[self.scheme]
        id_header = scheme.delivery_id.header if scheme.delivery_id else ""
        return [
            ("signature_header", scheme.signature, self.signature_header),
            ("id_header", id_header, self.id_header),
            ("timestamp_header", scheme.signed_time, self.timestamp_header),
        ]

    @property
    def signing(self) -> Scheme:
        """The scheme, with the header names of this source."""
        names = {old: other.lower() for _, old, other in self._header_names() if other}
        return SCHEMES[self.scheme].with_headers(names)


class SourcesFile(_Strict):
    """The content of `webhooks.yaml`.

    Attributes:
        sources: Sources by name.
        targets: Targets of routing rules by name: `{action: ...}` and what the action declares.
    """

    sources: dict[str, WebhookSource] | None
    targets: dict[TargetName, dict[str, Any]] | None = None


def read_sources(content: str) -> Mapping[str, WebhookSource]:
    """Return the sources that a `webhooks.yaml` declares, by name.

    Raises:
        ConfigurationError: The file is invalid; names each value that is.
    """
    try:
        sources = SourcesFile.model_validate(read_yaml(content)).sources or {}
    except ValidationError as error:
        raise _build_error("; ".join(value_problems(content, error))) from None
    except YAMLError as error:
        raise _build_error(syntax_problem(error)) from error
    for name in sources:
        if not NAME.fullmatch(name) or name.endswith(("_old", "_file")):
            reason = "expected a-z, 0-9 and _ in a name, which does not end in _old or _file"
            raise _build_error(located(content, ("sources", name), repr(name), reason))
    return sources


def read_targets(content: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the targets of routing rules that a `webhooks.yaml` declares, as they are written.

    Raises:
        ConfigurationError: The file is invalid.
    """
    read_sources(content)
    return SourcesFile.model_validate(read_yaml(content)).targets or {}


def _build_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "invalid webhook sources",
        expected=EXPECTED,
        found=found,
        remedy="correct the file that WEBHOOKS_FILE names",
    )


def name_secrets(source: str) -> tuple[str, str]:
    """Return the variables that hold a source's secret, and the one before it."""
    name = f"WEBHOOK_SECRET_{source.upper()}"
    return name, f"{name}_OLD"


def derive_key(source: str, declared: WebhookSource, secret: str) -> bytes:
    """Return the key of a secret.

    Raises:
        ConfigurationError: It cannot be one of this scheme, or is too short; does not quote it.
    """
    try:
        key = declared.signing.key(secret)
    except ValueError as error:
        raise _build_secret_error(source, str(error)) from None  # its cause may quote the secret
    if len(key) < SHORTEST_SECRET_BYTES:
        raise _build_secret_error(source, f"{len(key)} bytes")
    return key


def _build_secret_error(source: str, found: str) -> ConfigurationError:
    return ConfigurationError(
        f"a secret of the webhook source {source} cannot be used",
        expected=f"one as its scheme has it, of {SHORTEST_SECRET_BYTES} bytes or more",
        found=found,
        remedy=f"correct {' or '.join(name_secrets(source))}",
    )


def find_delivery_id(declared: WebhookSource, headers: Headers, body: bytes) -> str | None:
    """Return the id that makes a delivery known again: the sender's, or else the body's digest.

    None: the sender's cannot be used.
    """
    delivery_id = declared.delivery_id
    place = delivery_id.place if delivery_id else declared.signing.delivery_id
    value = _find_value(place, headers, body)
    if value is None:
        return f"sha256:{hashlib.sha256(body).hexdigest()}"
    return value if PLAIN.fullmatch(value) else None


def find_kind(declared: WebhookSource, headers: Headers, body: bytes) -> str | None:
    """Return the event kind that the sender names, such as ``issues``; None: no plain one."""
    value = _find_value(declared.signing.kind, headers, body)
    return value if value and PLAIN.fullmatch(value) else None


def select_headers(declared: WebhookSource, headers: Headers) -> dict[str, str]:
    """Return the headers that are worth keeping; none of them is a secret or a signature."""
    named = declared.delivery_id.place.header if declared.delivery_id else ""
    names = (*ALWAYS_KEPT, *declared.signing.kept, named)
    return {name: headers[name] for name in names if name in headers}


def _find_value(place: Place | None, headers: Headers, body: bytes) -> str | None:
    if place is None:
        return None
    if place.header:
        return headers.get(place.header)
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for name in place.path:
        document = document.get(name) if isinstance(document, dict) else None
    is_name = isinstance(document, str | int) and not isinstance(document, bool)
    return str(document) if is_name else None


EVENTS = (events_webhooks, events_webhooks.info[HISTORY])
"""Tables that deliveries are loaded into."""


def build_subjects(sources: Mapping[str, WebhookSource]) -> Sequence[SubjectKind]:
    """Return the kinds that sources declare, whose deliveries are deleted."""
    columns: defaultdict[str, list[IdentifyingColumn]] = defaultdict(list)
    for source, declared in sources.items():
        for kind, path in declared.subjects.items():
            names, where = tuple(path.split(".")), {"source": source}
            columns[kind] += [
                IdentifyingColumn(column=inbox.c.body, path=names, where=where, is_base64=True),
                IdentifyingColumn(column=events_webhooks.c.payload, path=names, where=where),
            ]
    return [
        SubjectKind(
            name=kind,
            description="value of the member that the source declares in webhooks.yaml",
            columns=some,
            related=list_delivery_rows,
        )
        for kind, some in sorted(columns.items())
    ]


def list_delivery_rows(table: Table, key: Key) -> Sequence[tuple[Table, Key]]:
    """Return the rows of other tables that a delivery has: inbox, event, history and work item."""
    if table not in {inbox, *EVENTS}:
        return []
    source, delivery_id = key["source"], key["delivery_id"]
    values = {"source": source, "delivery_id": delivery_id}
    item = {"topic": f"{DELIVERY_TOPICS}{source}", "item_key": delivery_id}
    return [(inbox, values), *((event, values) for event in EVENTS), (work_items, item)]
