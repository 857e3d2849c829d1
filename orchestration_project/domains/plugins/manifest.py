"""The manifest of a plugin, plugin.yaml: read strictly, with an upper bound of everything."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

import jsonschema_rs
import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import read_yaml, syntax_problem, value_problems

MANIFEST_FILE = "plugin.yaml"
MAX_MANIFEST_BYTES = 64 * 2**10
ID = r"^[a-z][a-z0-9_]{0,39}$"
RESERVED_IDS = frozenset(
    [
        *("calls", "configuration", "edit", "edits", "grants", "list", "publishers", "rows"),
        *("rows_history", "state", "versions", "violations"),
    ]
)
"""IDs whose assets and jobs are the project's own."""

SEMVER = (
    r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"
    r"(-(0|[1-9]\d{0,8}|\d*[a-z-][0-9a-z-]*)(\.(0|[1-9]\d{0,8}|\d*[a-z-][0-9a-z-]*))*)?$"
)
HOST = r"^[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?(:[1-9][0-9]{0,4})?$"
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_LISTED = 50
MAX_TEXT_CHARACTERS = 1_000


class Kind(StrEnum):
    """Kinds of plugins: one that loads rows, one that shows something, one that acts outside."""

    SOURCE = "source"
    REPORT = "report"
    ACTION = "action"


Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
PageFormat = Literal["markdown", "svg"]
PluginId = Annotated[str, StringConstraints(pattern=ID)]
Name = Annotated[str, StringConstraints(pattern=ID)]
HostName = Annotated[str, StringConstraints(pattern=HOST, max_length=253)]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,39}$")]
Publisher = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ShortText = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]
TopicName = Annotated[
    str, StringConstraints(pattern=r"^plugins(/[a-z][a-z0-9_-]{0,59}){2,5}$", max_length=200)
]
FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_./+-]{0,199}$", max_length=200)
]


class Declaration(BaseModel):
    """A part of plugin.yaml: unknown fields and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _check_unique(names: Sequence[Any]) -> Sequence[Any]:
    entries: set[Any] = set()
    for name in names:
        key = getattr(name, "name", None) or getattr(name, "host", None) or name
        if key in entries:
            raise ValueError(f"expected each name once, found {key!r:.60} twice")
        entries.add(key)
    return names


class HostPermission(Declaration):
    """A host that it may request.

    Attributes:
        host: Name in lower case, with a port if that is not the scheme's own.
        methods: Methods of HTTP.
        scheme: https, or http where the host has no TLS.
    """

    host: HostName
    methods: Annotated[list[Method], Field(min_length=1), AfterValidator(_check_unique)] = ["GET"]
    scheme: Literal["https", "http"] = "https"


class SecretPermission(Declaration):
    """A secret that the host fills into requests to one host, and never to the plugin.

    Attributes:
        name: Name, as in ``{{secret:NAME}}`` and the setting ``PLUGIN_SECRET_NAME``.
        host: Host of ``hosts`` whose requests may have it.
    """

    name: SecretName
    host: HostName


class ReadPermission(Declaration):
    """A named query of one table.

    Attributes:
        name: Name of the query.
        table: Table or view.
        columns: Its columns that are returned.
        filters: Columns that the plugin may compare with a value, by equality.
        max_rows: Most rows of an answer.
    """

    name: Name
    table: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,99}$")]
    columns: Annotated[
        list[str], Field(min_length=1, max_length=100), AfterValidator(_check_unique)
    ]
    filters: Annotated[list[str], Field(max_length=20), AfterValidator(_check_unique)] = []
    max_rows: int = Field(default=1_000, ge=1, le=100_000)


class EndpointPermission(Declaration):
    """A read-only endpoint below ``/api/v1/plugins/<id>/``.

    Attributes:
        name: Name of the endpoint.
        parameters: Parameters that it takes; a request with another one is refused.
        description: What it answers.
    """

    name: Name
    parameters: Annotated[
        list[Name], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []
    description: ShortText = ""


class ActionPermission(Declaration):
    """An action outside, asked for through the outbox.

    Attributes:
        name: Name of the action.
        host: Host of ``hosts`` that it requests.
    """

    name: Name
    host: HostName


class Permissions(Declaration):
    """Permissions of a plugin; all else is refused."""

    hosts: Annotated[
        list[HostPermission], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []
    secrets: Annotated[
        list[SecretPermission], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []
    reads: Annotated[
        list[ReadPermission], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []
    tables: Annotated[list[Name], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)] = []
    topics: Annotated[
        list[TopicName], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []
    endpoints: Annotated[
        list[EndpointPermission], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []
    pages: Annotated[list[PageFormat], AfterValidator(_check_unique)] = []
    folders: Annotated[list[Name], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)] = []
    actions: Annotated[
        list[ActionPermission], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)
    ] = []

    @model_validator(mode="after")
    def _names_its_hosts(self) -> Self:
        known_names = [host.host for host in self.hosts]
        for secret in (*self.secrets, *self.actions):
            if secret.host not in known_names:
                raise ValueError(
                    f"invalid host {secret.host!r} of {secret.name}: "
                    "expected one of permissions.hosts"
                )
        return self

    def read(self, name: str) -> ReadPermission | None:
        """Return the named query, if there is one."""
        return next(
            (read_permission for read_permission in self.reads if read_permission.name == name),
            None,
        )


class Schedule(Declaration):
    """When its job runs.

    Attributes:
        cron: Cron expression of five fields.
        timezone: Time zone of the expression.
    """

    cron: Annotated[str, StringConstraints(pattern=r"^\S+( \S+){4}$", max_length=100)]
    timezone: str = "UTC"

    @model_validator(mode="after")
    def _has_a_time_zone(self) -> Self:
        try:
            ZoneInfo(self.timezone)
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(
                f"invalid timezone {self.timezone!r:.60}: expected a name, e.g. Europe/Berlin"
            ) from error
        return self


def _read_day(given: object) -> object:
    """Return a text as the day that it is; a number is none."""
    try:
        return date.fromisoformat(given) if isinstance(given, str) else given
    except ValueError:
        return given


class Partitions(Declaration):
    """Daily partitions, UTC, from a day on."""

    start: Annotated[date, BeforeValidator(_read_day)]


class Budget(Declaration):
    """Limits of one run; a run that exceeds one fails.

    Attributes:
        seconds: Wall time.
        memory_mib: Memory of the child, MiB.
        requests: Requests of HTTP.
        bytes: Bytes of all answers.
        rows: Emitted rows.
    """

    seconds: int = Field(default=60, ge=1, le=3_600)
    memory_mib: int = Field(default=256, ge=32, le=4_096)
    requests: int = Field(default=100, ge=0, le=100_000)
    bytes: int = Field(default=10_000_000, ge=0, le=2**32)
    rows: int = Field(default=10_000, ge=0, le=5_000_000)


class Wheel(Declaration):
    """A wheel in the folder ``wheels``, pure Python, pinned by its hash."""

    file: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl$")]
    sha256: Sha256

    @property
    def name(self) -> str:
        """Its file, by which a list has it once."""
        return self.file


class Manifest(Declaration):
    """All that plugin.yaml says.

    Attributes:
        id: Its ID: the asset is ``plugins/<id>``, the job ``plugins_<id>``.
        version: Semantic version.
        publisher: Who signs it.
        kind: What it does.
        entry: File with its code, relative to its folder.
        requires: Versions of the project that it works with.
        description: What it is for.
        schedule: When it runs; None: on request.
        partitions: Its partitions; None: one asset without partitions.
        permissions: What it requests.
        budget: Its limits.
        wheels: Wheels that are unpacked beside it.
        config_schema: JSON Schema of its run config.
        row_schemas: JSON Schema of the payload, by name of ``permissions.tables``.
    """

    id: PluginId
    version: Annotated[str, StringConstraints(pattern=SEMVER, max_length=60)]
    publisher: Publisher
    kind: Annotated[Kind, Field(strict=False)]
    entry: FileName
    requires: Annotated[str, StringConstraints(max_length=100)]
    description: ShortText = ""
    schedule: Schedule | None = None
    partitions: Partitions | None = None
    permissions: Permissions = Permissions()
    budget: Budget = Budget()
    wheels: Annotated[list[Wheel], Field(max_length=MAX_LISTED), AfterValidator(_check_unique)] = []
    config_schema: dict[str, Any] = {"type": "object", "additionalProperties": False}
    row_schemas: dict[str, dict[str, Any]] = {}

    def find_day(self, at: datetime) -> date | None:
        """Return the partition of a scheduled run: the latest complete UTC day; None: it has none.

        Args:
            at: When the run is due.
        """
        if self.partitions is None:
            return None
        return at.astimezone(UTC).date() - timedelta(days=1)

    def find_reason_not_to_run(self, day: date | None, plugin_id: str, *, in_share: bool) -> str:
        """Return why a scheduled run does not start; empty: it does.

        Args:
            day: Its partition, as `find_day` returns it.
            plugin_id: ID of the plugin.
            in_share: Whether the share of the plugin has the partition.
        """
        if day is not None and self.partitions is not None and day < self.partitions.start:
            return f"The first partition is {self.partitions.start}."
        return "" if in_share else f"{day or plugin_id} is outside of its share."

    @property
    def asset_name(self) -> str:
        """Its asset, such as ``plugins/rss``."""
        return f"plugins/{self.id}"

    @property
    def job_name(self) -> str:
        """Its job, such as ``plugins_rss``."""
        return f"plugins_{self.id}"

    @property
    def as_json(self) -> dict[str, Any]:
        """Its fields as values of JSON."""
        return self.model_dump(mode="json")

    def supports(self, project_version: str) -> bool:
        """Whether it works with a version of the project."""
        from packaging.specifiers import SpecifierSet

        return SpecifierSet(self.requires).contains(project_version, prereleases=True)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.id in RESERVED_IDS:
            raise ValueError(f"invalid id: {self.id} is a name of the project, e.g. my_{self.id}")
        _require_specifier(self.requires)
        if not self.entry.endswith(".py") or ".." in self.entry.split("/"):
            raise ValueError("invalid entry: expected a Python file of its folder, e.g. main.py")
        foreign = [
            topic
            for topic in self.permissions.topics
            if not topic.startswith(f"plugins/{self.id}/")
        ]
        if foreign:
            raise ValueError(
                f"invalid topic {foreign[0]!r}: expected a name below plugins/{self.id}/"
            )
        if self.permissions.actions and self.kind is not Kind.ACTION:
            raise ValueError("invalid actions: expected kind: action")
        missing = sorted(set(self.permissions.tables) ^ set(self.row_schemas))
        if missing:
            raise ValueError(
                "invalid row_schemas: expected a schema for each of permissions.tables, and no "
                f"other; {missing[0]!r:.60} is in one of them only"
            )
        for text, schema in self._schemas():
            validator_of(schema, text)
        return self

    def _schemas(self) -> list[tuple[str, Mapping[str, Any]]]:
        rows = [(f"row_schemas.{name}", schema) for name, schema in self.row_schemas.items()]
        return [("config_schema", self.config_schema), *rows]


def validator_of(
    schema: Mapping[str, Any], place: str = "schema"
) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a JSON Schema; it follows no reference to another document.

    Raises:
        ValueError: The schema is invalid.
    """
    if schema.get("$schema", SCHEMA_DIALECT) != SCHEMA_DIALECT:
        raise ValueError(f"invalid $schema of {place}: expected {SCHEMA_DIALECT}")
    try:
        json.dumps(schema, allow_nan=False)
        return jsonschema_rs.Draft202012Validator(
            dict(schema),
            validate_formats=True,
            ignore_unknown_formats=False,
            offline=True,
            pattern_options=jsonschema_rs.RegexOptions(),
            mask="the value",
        )
    except (ValueError, TypeError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise ValueError(f"invalid {place}: expected a JSON Schema, found {reason}") from error


def read_manifest(text: str) -> Manifest:
    """Return the manifest that a text is.

    Raises:
        ConfigurationError: It is not YAML, or a field is missing or invalid; all are named.
    """
    try:
        if len(text) > MAX_MANIFEST_BYTES:
            raise _build_error([f"expected at most {MAX_MANIFEST_BYTES} characters"])
        return Manifest.model_validate(read_yaml(text, has_aliases=False))
    except yaml.YAMLError as error:
        raise _build_error([syntax_problem(error)]) from error
    except ValidationError as error:
        raise _build_error(value_problems(text, error)) from error


def stored_manifest(fields: Mapping[str, Any]) -> Manifest:
    """Return the manifest that was stored as `Manifest.as_json`.

    Raises:
        ConfigurationError: It is not valid for this version of the project.
    """
    try:
        return Manifest.model_validate_json(json.dumps(fields))
    except ValidationError as error:
        raise _build_error(
            [f"{problem['loc']}: {problem['msg']}" for problem in error.errors()]
        ) from error


def _require_specifier(requires: str) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(requires)
    except InvalidSpecifier as error:
        raise ValueError(
            f"invalid requires {requires!r:.60}: expected versions of the project, e.g. >=0.1"
        ) from error


def _build_error(problems: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"invalid {MANIFEST_FILE}",
        expected="the fields of docs/how-to/write-a-plugin.md",
        found="; ".join(problems)[:2_000],
        remedy=f"correct {MANIFEST_FILE}, and add the plugin again",
    )


def version_key(version: str) -> tuple[Any, ...]:
    """Return the sort key of a semantic version: a pre-release comes before its version."""
    numbers, _, pre = version.partition("-")
    parts = [
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".") if part
    ]
    return (*map(int, numbers.split(".")), not pre, parts)
