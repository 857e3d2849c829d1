"""Scheduled exports and their targets, as `exports.yaml` declares them."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from yaml import YAMLError

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import (
    located,
    read_yaml,
    syntax_problem,
    value_problems,
)
from orchestration_project.tables.schema import HISTORY

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
PLAIN_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"

EXPORTS_TOPIC = "exports"
"""Topic of the work items of exports."""

EXPORTS_FOLDER = "exports"
"""Below STATE_DIR: files while they are written."""

ARTIFACTS = "artifacts"
"""The target that needs no declaration: the artifact store."""

Text = Annotated[str, Field(min_length=1, max_length=500)]
Format = Literal["csv", "ndjson", "parquet"]
SUFFIXES: Mapping[Format, str] = {"csv": "csv", "ndjson": "jsonl", "parquet": "parquet"}

MAX_SHOWN_CHARACTERS = 60

MAX_HOURS = 36_500 * 24
"""A century, as a bound."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class S3Target(_Strict):
    """A bucket; credentials are in the AWS_… variables.

    Attributes:
        kind: s3.
        url: s3://bucket/prefix.
    """

    kind: Literal["s3"]
    url: str = Field(pattern=r"^s3://[^/?#@\s]+(/[^?#\s]*)?$", max_length=500)


class DatabaseTarget(_Strict):
    """Another database, whose URL is EXPORT_URL_<TARGET>.

    Attributes:
        kind: database.
        database_schema: PostgreSQL schema; default: the first of the search path.
    """

    kind: Literal["database"]
    database_schema: str | None = Field(default=None, pattern=PLAIN_NAME)


class WebhookTarget(_Strict):
    """A receiver of Standard Webhooks, whose secret is EXPORT_SECRET_<TARGET>.

    Attributes:
        kind: webhook.
        url: https:// URL without user and query; default: EXPORT_URL_<TARGET>, also with these.
    """

    kind: Literal["webhook"]
    url: str | None = Field(
        default=None, pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?$", max_length=2000
    )


class FolderTarget(_Strict):
    """A folder of this machine, or one that all machines mount, for datasets of Parquet files.

    Attributes:
        kind: folder.
        path: Absolute path; each export has a folder of its name in it.
    """

    kind: Literal["folder"]
    path: str = Field(pattern=r"^/[^\x00]*$", max_length=500)


Target = S3Target | DatabaseTarget | WebhookTarget | FolderTarget


class Export(_Strict):
    """Declaration of an export.

    Attributes:
        table: Table or view.
        columns: Columns in order; default: all.
        where: Conditions as `orchestrate export --where` takes them; all must hold.
        incremental: Whether only rows that changed since the last export are delivered.
        format: File format; not of a database.
        escape_formulas: Whether CSV has ' before texts that a spreadsheet would calculate; default:
            only in columns that senders write. The other formats have texts as they are.
        byte_order_mark: Whether CSV begins with the mark by which Excel reads it as UTF-8.
        internal: Whether the table may be an internal one.
        target: Name of a target; default: the artifact store.
        target_table: Table of a database target; default: the export's name.
        partition_by: Columns that divide a folder target's rows into files, of which only the
            changed ones are written; default: the day of the key, and tier.
        write: Whether a database's rows are replaced or appended; default: append if incremental.
        schedule: Cron expression; without it, only runs on request export.
        timezone: Time zone of the schedule.
        alert_after_hours: Waiting time of an undelivered export after which its check fails.
    """

    table: str = Field(min_length=1, max_length=100)
    columns: list[Text] = []
    where: list[Text] = []
    incremental: bool = False
    format: Format | None = None
    escape_formulas: bool | None = None
    byte_order_mark: bool = False
    internal: bool = False
    target: str = Field(default=ARTIFACTS, max_length=40)
    target_table: str | None = Field(default=None, pattern=PLAIN_NAME)
    partition_by: list[Text] = []
    write: Literal["replace", "append"] | None = None
    schedule: str | None = Field(default=None, max_length=100)
    timezone: str = Field(default="UTC", max_length=100)
    alert_after_hours: float = Field(default=1, ge=0, le=MAX_HOURS)

    @property
    def file_format(self) -> Format:
        """Format of the file; of a database's, Parquet."""
        return self.format or "parquet"

    @property
    def write_disposition(self) -> Literal["replace", "append"]:
        """Write disposition of a database target."""
        return self.write or ("append" if self.incremental else "replace")

    def definition_sha256(self, target: Target | None) -> str:
        """Return the SHA-256 of all that decides content and place; of another, all is exported."""
        other_names = {"schedule", "timezone", "alert_after_hours"}
        other_names |= (
            set() if self.partition_by else {"partition_by"}
        )  # as before there was such a key
        place = None if target is None else target.model_dump()
        content = json.dumps([self.model_dump(exclude=other_names), place], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


DeclaredTarget = Annotated[Target, Field(discriminator="kind")]

T = TypeVar("T")


class ExportsFile(_Strict):
    """The content of `exports.yaml`.

    Attributes:
        targets: Targets by name, of kind s3, database, webhook or folder.
        exports: Exports by name.
    """

    targets: dict[str, DeclaredTarget] | None = None
    exports: dict[str, Export] | None = None


class DeclaredExport(NamedTuple):
    """An export with its target; None: the artifact store."""

    name: str
    export: Export
    target: Target | None

    @property
    def definition_sha256(self) -> str:
        """SHA-256 of the declaration."""
        return self.export.definition_sha256(self.target)


class LoadRange(NamedTuple):
    """Loads that an export contains: after ``since`` (None: from the first), up to ``until``."""

    since: datetime | None
    until: datetime

    def version(self, definition_sha256: str) -> str:
        """Return the version of the export's work item, which retries share."""
        since = self.since.isoformat() if self.since else ""
        return f"{self.until.isoformat()}/{since}/{definition_sha256}"

    @classmethod
    def of_version(cls, version: str) -> tuple["LoadRange", str]:
        """Return the load range and the definition of a `version`."""
        until, since, definition = version.split("/")
        start = datetime.fromisoformat(since) if since else None
        return cls(start, datetime.fromisoformat(until)), definition


def read_exports(content: str, is_cron: Callable[[str], bool]) -> Mapping[str, DeclaredExport]:
    """Return the exports that an `exports.yaml` declares, by name.

    Args:
        content: The text of the file.
        is_cron: Whether a text is a cron expression.

    Raises:
        ConfigurationError: The file is invalid; names each value that is.
    """
    parsed = _parse_yaml(content)
    problems = _name_problems(content, parsed)
    if problems:
        raise _build_error("; ".join(problems))
    try:
        model_validate = ExportsFile.model_validate(parsed)
        targets, exports = model_validate.targets or {}, model_validate.exports or {}
    except ValidationError as error:
        problems = value_problems(content, error)
        targets = _select_valid(parsed, "targets", TypeAdapter(DeclaredTarget))
        exports = _select_valid(parsed, "exports", TypeAdapter(Export))
    invalid_targets = _read_section(parsed, "targets").keys() - targets.keys()
    problems += [
        located(content, ("exports", name, key), f"exports.{name}.{key}", reason)
        for name, export in exports.items()
        if export.target not in invalid_targets
        for key, reason in _check_export(export, targets, is_cron)
    ]
    if problems:
        raise _build_error("; ".join(problems))
    return {
        name: DeclaredExport(name, export, targets.get(export.target))
        for name, export in exports.items()
    }


def read_targets(content: str) -> Mapping[str, Target]:
    """Return the targets that an `exports.yaml` declares, by name.

    Raises:
        ConfigurationError: The file is invalid; names each value that is.
    """
    parsed = _parse_yaml(content)
    if problems := _name_problems(content, parsed):
        raise _build_error("; ".join(problems))
    try:
        return dict(ExportsFile.model_validate(parsed).targets or {})
    except ValidationError as error:
        raise _build_error("; ".join(value_problems(content, error))) from None


def export_problems(export: Export, targets: Mapping[str, Target]) -> list[tuple[str, str]]:
    """Return each key of an export whose value fits no table or target, and what is expected.

    Args:
        export: The export.
        targets: Declared targets by name; the artifact store needs no declaration.
    """
    return _check_target(export, targets) + _check_table(export)


def _parse_yaml(content: str) -> Any:
    try:
        parsed = read_yaml(content)
    except YAMLError as error:
        raise _build_error(syntax_problem(error)) from None
    return {} if parsed is None else parsed


def _read_section(parsed: Any, name: str) -> Mapping[Any, Any]:
    section = parsed.get(name) if isinstance(parsed, dict) else None
    return section if isinstance(section, dict) else {}


def _select_valid(parsed: Any, section: str, model: TypeAdapter[T]) -> dict[str, T]:
    """Return those values of a section that are valid, whatever else the file has."""
    valid: dict[str, T] = {}
    for name, value in _read_section(parsed, section).items():
        with suppress(ValidationError):
            valid[name] = model.validate_python(value)
    return valid


def _name_problems(content: str, parsed: Any) -> list[str]:
    """Return exports and targets without plain names, before any message quotes them."""
    problems: list[str] = []
    for section in ("targets", "exports"):
        for name in _read_section(parsed, section):
            is_plain = isinstance(name, str) and NAME.fullmatch(name)
            if not is_plain or name.endswith("_file") or (section, name) == ("targets", ARTIFACTS):
                reason = (
                    "expected a name of at most 40 characters a-z, 0-9 and _, e.g. weekly_t1; "
                    "artifacts is the artifact store"
                )
                text = f"{section}: {_cut(repr(name))}"
                problems.append(located(content, (section, name), text, reason))
    return problems


def _check_export(
    export: Export, targets: Mapping[str, Target], is_cron: Callable[[str], bool]
) -> list[tuple[str, str]]:
    """Return the keys of an export whose values fit neither the tables nor the targets."""
    problems = _check_target(export, targets)
    if export.schedule is not None and not is_cron(export.schedule):
        expected = "expected a cron expression, e.g. 0 6 * * *"
        problems.append(("schedule", f"{expected}, found {_cut(repr(export.schedule))}"))
    if not _is_zone(export.timezone):
        expected = "expected a time zone, e.g. America/New_York"
        problems.append(("timezone", f"{expected}, found {_cut(repr(export.timezone))}"))
    return problems + _check_table(export)


def _check_target(export: Export, targets: Mapping[str, Target]) -> list[tuple[str, str]]:
    if export.target != ARTIFACTS and export.target not in targets:
        names: Collection[str] = (ARTIFACTS, *targets)
        expected = f"expected one of {', '.join(names)}"
        return [("target", f"{expected}, found {_cut(repr(export.target))}")]
    target = targets.get(export.target)
    is_folder = isinstance(target, FolderTarget)
    if export.partition_by and not is_folder:
        return [("partition_by", "expected with a folder as target only")]
    if is_folder:
        return _check_folder(export)
    if isinstance(target, DatabaseTarget):
        problems = []
        if export.byte_order_mark:
            problems.append(("byte_order_mark", "expected with csv only"))
        if export.format is not None or export.escape_formulas is not None:
            problems.append(("target", "expected no format or escape_formulas with a database"))
        if export.incremental and export.write == "replace":
            problems.append(("write", "expected append: an incremental export has only changes"))
        return problems
    return [*_check_database_only(export), *_check_csv_only(export)]


def _check_csv_only(export: Export) -> list[tuple[str, str]]:
    is_csv = export.file_format == "csv"
    values = {
        "escape_formulas": export.escape_formulas,
        "byte_order_mark": export.byte_order_mark,
    }
    return [
        (key, "expected with csv only") for key, value in values.items() if value and not is_csv
    ]


def _check_database_only(export: Export) -> list[tuple[str, str]]:
    given_names = {"target_table": export.target_table, "write": export.write}
    return [
        (key, "expected with a database as target only")
        for key, value in given_names.items()
        if value
    ]


def _check_folder(export: Export) -> list[tuple[str, str]]:
    problems = _check_database_only(export)
    if export.file_format != "parquet":
        problems.append(("format", f"expected parquet with a folder, found {export.format}"))
    if export.escape_formulas is not None:
        problems.append(("escape_formulas", "expected with csv only"))
    if export.byte_order_mark:
        problems.append(("byte_order_mark", "expected with csv only"))
    if export.incremental:
        reason = "expected false: a folder has all rows, of which only changed files are written"
        problems.append(("incremental", reason))
    return problems


def _check_table(export: Export) -> list[tuple[str, str]]:
    # these declare all tables: a file without exports is read without them
    from orchestration_project.tables.catalogue import internal_tables, relation
    from orchestration_project.tables.queries.changes import CHANGE

    try:
        source = relation(export.table)
    except ConfigurationError as error:
        return [("table", _format_error(error))]
    problems = []
    if source.table.name in internal_tables() and not export.internal:
        problems.append(("table", "expected a table that is not internal, or internal: true"))
    if export.incremental and source.table.info.get(HISTORY) is None:
        problems.append(
            ("incremental", f"expected false: {source.table.name} keeps no history to compare with")
        )
    if export.incremental and CHANGE in source.table.columns:
        problems.append(("incremental", f"expected false: the table has a column {CHANGE}"))
    try:
        source.select(source.columns(export.columns), export.where)
    except ConfigurationError as error:
        problems.append(("where" if export.where else "columns", _format_error(error)))
    return problems


def _format_error(error: ConfigurationError) -> str:
    parts = {"expected": error.expected, "found": error.found, "": error.remedy}
    texts = [f"{label} {text}".strip() for label, text in parts.items() if text]
    return ", ".join([_cut(error.what, 200), *(_cut(name, 300) for name in texts)])


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, a folder, or a path out of the zones
        return False
    return True


def _cut(text: str, most: int = MAX_SHOWN_CHARACTERS) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _build_error(found: str) -> ConfigurationError:
    return ConfigurationError(
        "invalid exports",
        expected="exports: <name>: {table: ..., target: ...}; see "
        "docs/how-to/exports-as-a-service.md",
        found=found,
        remedy="correct the file that EXPORTS_FILE names",
    )


def name_secrets(target: str) -> tuple[str, str]:
    """Return the variables of a target's URL and of its webhook secret."""
    return f"EXPORT_URL_{target.upper()}", f"EXPORT_SECRET_{target.upper()}"
