"""A dataset as attributes of YAML, which make the same value as a declaration in Python."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from inspect import signature
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic import Field as PydanticField

from orchestration_project.engine.contracts.queries import FieldList, Listing, Paging
from orchestration_project.engine.own import declarations, fields, partitions, sources
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.derived import Derived, derived
from orchestration_project.engine.own.dlt_source import DltSource, build_rest_factory, dlt_source
from orchestration_project.engine.own.fields import Field
from orchestration_project.engine.own.reading import FORMATS, MAX_BYTES, RATE, build_config_error
from orchestration_project.errors import ConfigurationError, did_you_mean
from orchestration_project.settings.yaml import (
    MemberError,
    Place,
    located,
    read_yaml,
    value_problems,
)
from orchestration_project.settings.yaml import syntax_problem as yaml_problem

PREFIX = "orchestration_project."
"""Begins the types of our components in a file."""

SECRETS = {
    *("bearer", "basic", "client_id", "client_secret"),
    *("secret_headers", "secret_query", "secrets"),
}
"""Attributes with names of secrets; a wrong value of them may be one, and is not shown."""

FindFunction: TypeAlias = Callable[[str], tuple[Callable[..., Any], bytes]]
"""Returns a function by module:function, and the bytes of its module."""


def _refuse_function(name: str) -> tuple[Callable[..., Any], bytes]:
    raise build_config_error("function", "a module beside the file", name)


FUNCTIONS = ContextVar[FindFunction]("functions", default=_refuse_function)
"""Finds the functions that the file names which is read."""

DECIMAL = re.compile(r"decimal\(\s*([0-9]+)\s*,\s*([0-9]+)\s*\)")


NO_TEMPLATE = {"not": {"pattern": r"\{\{"}}
"""JSON Schema of a name of a secret; it quotes no secret, as a pattern of names would."""


def _build_schema(**parts: Any) -> Any:
    """Return the JSON Schema of an attribute beside its type, for `dg check yaml` and editors."""
    return PydanticField(json_schema_extra=parts)


SecretName: TypeAlias = Annotated[str, _build_schema(**NO_TEMPLATE)]
SecretNames: TypeAlias = Annotated[
    dict[str, str] | None, _build_schema(additionalProperties={"type": "string", **NO_TEMPLATE})
]
TypeName: TypeAlias = Annotated[
    str, _build_schema(pattern=f"^({'|'.join(fields.TYPE_NAMES)}|{DECIMAL.pattern})$")
]
Rate: TypeAlias = Annotated[str, _build_schema(pattern=f"^{RATE.pattern}$")]
ColumnName: TypeAlias = Annotated[str, _build_schema(pattern=f"^{fields.NAME.pattern}$")]

MEMBERS = {
    "dataset": "name",
    "day": "since",
    "decimal": "type",
    "derived": "name",
    "field": "name",
    "pattern": "matches",
    "template": "url",
    "time": "published",
    "URL": "url",
}
"""Attribute that an error is about, by the first word of one that does not begin with it."""


class Attributes(BaseModel):
    """Base of attributes.

    Each is checked as the value that it makes, so that an error has its line. Dagster checks types
    alone: its errors show values, and one of them may be a secret in place of its name.
    """

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> "Attributes":
        try:
            if info.context is not None:
                self.made()
        except ConfigurationError as error:
            problem = error.line.removeprefix("invalid ")
            word = re.split(r"\W", problem)[0]
            names = [word, MEMBERS.get(word)]
            member = next((name for name in names if name in self.model_fields_set), None)
            if member:
                raise MemberError(member, problem) from None
            raise ValueError(problem) from None
        return self

    def made(self) -> Any:
        """Return the declared value."""
        raise NotImplementedError

    @property
    def given(self) -> Mapping[str, Any]:
        """The attributes that the file has."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def _call_function(what: str, function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Return the value that a function of a declaration makes of arguments."""
    try:
        signature(function).bind(**given)
    except TypeError as error:
        raise build_config_error(what, ", ".join(signature(function).parameters), error) from None
    return function(**given)


class CheckAttributes(Attributes):
    """Checks of a field, which hold at once."""

    positive: Literal[True] | None = None
    between: list[Any] | None = None
    one_of: list[str] | None = None
    matches: str | None = None

    def made(self) -> Sequence[Any]:
        """Return the checks."""
        if self.between is not None and len(self.between) != 2:
            raise build_config_error("between", "two limits, such as [0, 100]", self.between)
        makers: Mapping[str, Callable[[Any], Any]] = {
            "positive": lambda _: fields.positive,
            "between": lambda limits: fields.between(*limits),
            "one_of": lambda values: fields.one_of(*values),
            "matches": fields.matches,
        }
        return [makers[name](value) for name, value in sorted(self.given.items())]


class FieldAttributes(Attributes):
    """A field, as of `Field`; the type is a name such as text or decimal(12, 6)."""

    name: ColumnName
    type: TypeName
    description: str
    source: str = ""
    optional: bool = False
    check: CheckAttributes | None = None
    subject: str = ""
    personal: bool = False
    formula: list[Any] | None = None

    def made(self) -> Field:
        """Return the field."""
        match = DECIMAL.fullmatch(self.type)
        kind = fields.decimal(int(match[1]), int(match[2])) if match else self.type
        checks = self.check.made() if self.check else ()
        return Field(**{**self.given, "type": kind, "check": checks})


class CalendarAttributes(Attributes):
    """Days for which a source has data, as of `Calendar`."""

    market: str = ""
    closed: list[Any] = []
    weekdays: list[str] = []
    skips: bool = True

    def made(self) -> partitions.Calendar:
        """Return the calendar."""
        return partitions.Calendar(**self.given)


class PartitionsAttributes(Attributes):
    """Partitions: one each day, week or month; the other attributes are those of that function."""

    every: Literal["day", "week", "month"]
    since: Any
    calendar: str | CalendarAttributes = ""
    published: str = ""
    weekday: str = ""
    day: int | list[int] = 1
    delay_days: int = 0
    until: Any = ""
    value_column: str = ""
    values: list[str] = []
    column: str = ""
    reread_count: int = 4
    zone: str = ""

    def made(self) -> partitions.Partitions:
        """Return the partitions."""
        functions = {
            "day": partitions.Daily,
            "week": partitions.Weekly,
            "month": partitions.Monthly,
        }
        values = {name: value for name, value in self.given.items() if name != "every"}
        if isinstance(self.calendar, CalendarAttributes):
            values["calendar"] = self.calendar.made()
        return _call_function("partitions", functions[self.every], values)


class PagingAttributes(Attributes):
    """Paging by the function of that name."""

    by: Literal["pages", "offsets", "cursor", "next_url", "link_header"]
    parameter: str = ""
    path: str = ""
    size: int = 0
    start: int = 1
    most: int = 1000
    limit: str = ""
    total: str = ""
    page_total: str = ""
    max_offset: int = 0
    optional: bool = False

    def made(self) -> Paging:
        """Return the paging."""
        values = {name: value for name, value in self.given.items() if name != "by"}
        return _call_function("paging", getattr(sources, self.by), values)


class ReadingAttributes(Attributes):
    """The way to read records, as of `Reading`."""

    format: Annotated[str, _build_schema(enum=FORMATS)]
    records: str = ""
    delimiter: str = ","
    quote: str = '"'
    columns: list[str] = []
    decimal_comma: bool = False
    encoding: str = "utf-8"
    skip: int = 0
    sheet: str = ""
    table: int | str = 1
    positions: dict[str, tuple[int, int]] | None = None
    member: str = ""
    max_bytes: int = MAX_BYTES
    names: dict[str, str] | None = None
    null_values: list[str] = []
    extract: dict[str, tuple[str, str]] | None = None
    skip_blank: str = ""
    unpivot: list[str] = []
    zipped: dict[str, Any] | None = None
    expects: str = ""


class IncrementalAttributes(Attributes):
    """The request of what is new since the partition before, as of `incremental`."""

    parameter: str
    field: str
    initial: str

    def made(self) -> sources.Incremental:
        """Return the request."""
        return sources.Incremental(**self.given)


class DocumentAttributes(Attributes):
    """A document that has several partitions, as of `Document`."""

    name: str
    days: int = 0
    is_listing: bool = True

    def made(self) -> sources.Document:
        """Return the document."""
        return sources.Document(**self.given)


class ListingAttributes(Attributes):
    """A list of partitions, as of `Listing`."""

    url: str
    path: str = ""
    member: str = ""

    def made(self) -> Listing:
        """Return the list."""
        return Listing(**self.given)


class FieldListAttributes(Attributes):
    """A list of fields, as of `FieldList`."""

    url: str
    path: str = ""
    name: str = "name"
    type: str = "type"
    types: dict[str, str] = {}

    def made(self) -> FieldList:
        """Return the list."""
        return FieldList(**self.given)


class OAuthAttributes(Attributes):
    """A client of OAuth 2, as of `client_credentials`; ID and secret are environment variables."""

    token_url: str
    client_id: SecretName
    client_secret: SecretName
    scope: str = ""

    def made(self) -> sources.ClientCredentials:
        """Return the client."""
        return sources.client_credentials(**self.given)


class HttpAttributes(ReadingAttributes):
    """A source over HTTP, as of `http_source`; secrets are names of environment variables."""

    url: Annotated[str, _build_schema(pattern="^https?://")]
    headers: dict[str, str] | None = None
    query: dict[str, str] | None = None
    secret_headers: SecretNames = None
    secret_query: SecretNames = None
    bearer: SecretName = ""
    basic: Annotated[Any, _build_schema(items={"type": "string", **NO_TEMPLATE})] = None
    oauth: OAuthAttributes | None = None
    paging: PagingAttributes | None = None
    rate: Rate = "2/s"
    retries: int = 4
    documents: list[DocumentAttributes] = []
    incremental: IncrementalAttributes | None = None
    json_query: dict[str, Any] | None = None
    listing: ListingAttributes | None = None
    field_list: FieldListAttributes | None = None
    concurrent_requests: int = 1

    def made(self) -> sources.HttpSource:
        """Return the source."""
        basic = self.basic
        if basic is not None and not (isinstance(basic, list) and len(basic) == 2):
            expected = "a list of two names of environment variables"
            raise build_config_error("basic", expected, "another value")
        paging = self.paging.made() if self.paging else None
        parts = {
            "basic": basic and tuple(basic),
            "oauth": self.oauth.made() if self.oauth else None,
            "paging": paging,
            "documents": tuple(document.made() for document in self.documents),
            "incremental": self.incremental.made() if self.incremental else None,
            "listing": self.listing.made() if self.listing else None,
            "field_list": self.field_list.made() if self.field_list else None,
        }
        return sources.http_source(**{**self.given, **parts})


class FileAttributes(ReadingAttributes):
    """A source of files, as of `file_source`."""

    path: str

    def made(self) -> sources.FileSource:
        """Return the source."""
        return sources.file_source(**self.given)


class ChecksAttributes(Attributes):
    """Checks of a whole delivery: numbers of rows, and the least ratio to usual deliveries."""

    row_count: dict[Literal["min", "max"], int] | None = None
    usual_size: float | None = None

    def made(self) -> Sequence[Any]:
        """Return the checks."""
        rows, ratio = self.row_count, self.usual_size
        return [
            *([] if rows is None else [declarations.row_count(**rows)]),
            *([] if ratio is None else [declarations.usual_size(ratio)]),
        ]


class DatasetAttributes(Attributes):
    """A dataset, as of `Dataset`."""

    name: str
    key: list[str]
    partitions: PartitionsAttributes
    fields: list[FieldAttributes]
    source: Any
    checks: ChecksAttributes | None = None
    description: str = ""
    max_reject_ratio: float = 0.0
    licence: str = "not stated"
    owners: list[str] = ["team:data"]
    grace_hours: int = 12
    new_fields: Literal["ignore", "refuse", "collect"] = "ignore"
    missing_fields: Literal["refuse", "ignore"] = "refuse"
    rule_version: str = ""

    def made(self) -> Dataset:
        """Return the dataset."""
        parts = {
            "partitions": self.partitions.made(),
            "fields": [field.made() for field in self.fields],
            "source": self.source.made(),
            "checks": self.checks.made() if self.checks else (),
        }
        return Dataset(**{**self.given, **parts})


class DltAttributes(Attributes):
    """A source of dlt, as of `dlt_source`: a function of a module beside the file, or `rest_api`.

    Secrets of `rest_api` are named by their paths in it, such as ``client.auth.token``.
    """

    function: str = ""
    rest_api: dict[str, Any] | None = None
    resource: str = ""
    capture: str = "answers"
    incremental: bool = False
    secrets: SecretNames = None
    rate: Rate = "2/s"
    retries: int = 4

    def made(self) -> DltSource:
        """Return the source."""
        if bool(self.function) == (self.rest_api is not None):
            raise build_config_error("source", "one of function and rest_api", "both or none")
        values = {k: value for k, value in self.given.items() if k not in ("function", "rest_api")}
        if self.rest_api is not None:
            return dlt_source(build_rest_factory(self.rest_api, self.secrets or {}), **values)
        make, code = FUNCTIONS.get()(self.function)
        return replace(dlt_source(make, **values), code=code)


class DerivedAttributes(Attributes):
    """A derived table, as of `derived`, made by SQL."""

    name: str
    key: list[str]
    fields: list[FieldAttributes]
    sql: str
    inputs: list[str] = []
    partition_by: str = ""
    input_columns: dict[str, str] | None = None
    description: str = ""
    owners: list[str] = ["team:data"]

    def made(self) -> Derived:
        """Return the derived table."""
        return derived(**{**self.given, "fields": [field.made() for field in self.fields]})


SOURCES: Mapping[object, type[Attributes]] = {
    f"{PREFIX}DltDataset": DltAttributes,
    f"{PREFIX}HttpDataset": HttpAttributes,
    f"{PREFIX}FileDataset": FileAttributes,
    f"{PREFIX}SqlTable": DerivedAttributes,
}
"""Attributes of the source by the type of a component, or of the whole derived table."""


def parse_dataset(text: str, functions: FindFunction = _refuse_function) -> Dataset | Derived:
    """Return the dataset or derived table that a file declares; it may name ``functions``.

    Raises:
        ConfigurationError: An attribute is wrong; the error has its line.
    """
    try:
        document = read_yaml(text)
    except yaml.YAMLError as error:
        raise _build_error("YAML of one component", yaml_problem(error)) from None
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(document, dict) or kind not in SOURCES:
        known_names = [str(name) for name in SOURCES]
        located_problem = located(text, ["type"], str(kind))
        raise _build_error(
            f"type: {' or '.join(known_names)}",
            located_problem,
            did_you_mean(str(kind), known_names),
        )
    if template := next(_find_templates(document.get("attributes"), ["attributes"]), None):
        raise _build_error(
            "values as they are, as each program reads them, also without Dagster",
            located(text, template, ".".join(map(str, template)), "a template"),
            "write the value; of a secret, write the name of its environment variable",
        )
    token = FUNCTIONS.set(functions)
    try:
        return (
            _build_model(SOURCES[kind]).model_validate(document, context=SOURCES).attributes.made()
        )
    except ValidationError as error:
        for group in (
            problem["loc"] for problem in error.errors() if SECRETS & set(problem["loc"])
        ):
            located_problem = located(text, group, ".".join(map(str, group)), "another value")
            raise _build_error("names of environment variables", located_problem) from None
        raise _build_error(
            f"attributes of {kind}", "; ".join(value_problems(text, error))
        ) from None
    finally:
        FUNCTIONS.reset(token)


def _build_model(source: type[Attributes]) -> type[Any]:
    """Return the model of a file whose dataset has a kind of source, or is derived."""
    if source is DerivedAttributes:
        return create_model("File", attributes=(source, ...))
    dataset = create_model("Dataset", __base__=DatasetAttributes, source=(source, ...))
    return create_model("File", attributes=(dataset, ...))


def _find_templates(value: Any, place: Place) -> Iterator[Place]:
    """Yield the places of templates, which Dagster would fill in."""
    if isinstance(value, str) and "{{" in value:
        yield place
    members = value.items() if isinstance(value, dict) else ()
    members = enumerate(value) if isinstance(value, list) else members
    for name, member in members:
        yield from _find_templates(member, [*place, name])


def _build_error(expected: str, found: str, remedy: str = "") -> ConfigurationError:
    return build_config_error("source file", expected, found, remedy or "correct the file")
