"""Sites as YAML files declare them: what is fetched, how politely, and which items are made."""

import re
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator, model_validator
from yaml import YAMLError

from orchestration_project.domains.web.declaration import (
    Css,
    JsonPath,
    Pattern,
    Strict,
    TypeName,
    XPath,
)
from orchestration_project.domains.web.item_exports import MAX_EXPORTS, ExportName, ItemExport
from orchestration_project.domains.web.login import Login
from orchestration_project.domains.web.matching import Match, ReferenceTable, TableName
from orchestration_project.domains.web.parsers import ParserName
from orchestration_project.domains.web.processors import NOTATIONS, Process
from orchestration_project.domains.web.starts import SearchStart, UrlListStart
from orchestration_project.domains.web.units import CURRENCIES, UNITS
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import read_yaml, syntax_problem, value_problems

NAME = r"^[a-z][a-z0-9_]{0,39}$"
FIELD_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
MAX_FIELDS = 200

SiteName = Annotated[str, Field(pattern=NAME)]

Amount = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6, strict=False)]

HTTP_ORIGIN = re.compile(r"https?://[^/?#@\s\\]+", re.IGNORECASE)


class FollowRule(Strict):
    """Links that are followed.

    Attributes:
        css: Elements whose ``href`` is followed.
        pattern: Regular expression that the URL contains; None: any URL.
        max_depth: Links between a start page and the target, at most.
    """

    css: Css = "a[href]"
    pattern: Pattern | None = None
    max_depth: int = Field(default=5, ge=1, le=100)


class Paging(Strict):
    """Pages of a list.

    Attributes:
        rel_next: Whether links with ``rel=next`` are followed, of any depth.
        parameter: Parameter of the query that numbers the pages of each start URL, or that takes
            the cursor.
        first: Its first value.
        last: Its last value.
        cursor: Path of the next page's cursor in a JSON body; without a value the list ends.
    """

    rel_next: bool = False
    parameter: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.\[\]-]{1,60}$")
    first: int = Field(default=1, ge=0)
    last: int = Field(default=1, ge=0, le=100_000)
    cursor: JsonPath | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.rel_next == (self.parameter is not None):
            raise ValueError("expected either rel_next: true or a parameter")
        if self.cursor is not None and self.parameter is None:
            raise ValueError("expected cursor with the parameter that takes it")
        if self.last < self.first:
            raise ValueError(f"expected last of {self.first} or more, found {self.last}")
        return self


class ItemField(Strict):
    """A field of an item: one selector, and how its text is processed.

    Attributes:
        css: Element within the item whose text is taken.
        xpath: XPath 1.0 from the item's element: elements, whose text is taken, or values.
        json_ld: Type of objects in JSON-LD, of which ``json_path`` takes a value.
        microdata: Type of objects in microdata, of which ``json_path`` takes a value.
        attribute: Attribute of the element that ``css`` selects, in place of its text.
        json_path: Path in the JSON body, in the JSON text of ``css`` or ``xpath``, or in objects.
        regex: Regular expression whose first group, or match, is taken of the text.
        many: Whether all matches are taken, as a list.
        required: Whether an item without it is rejected.
        process: How the text is processed.
        notation: Of a price, money or quantity: an example of how numbers are written.
        format: Of a date: its format, as of Python's strptime.
        currency: Of money: its code of ISO 4217; None: it stands beside the number.
        unit: Of a quantity: the unit to which it is converted, such as kg.
        match: Reference table in which the text is looked up.
        personal: Whether the value is of a person: mask stores a keyed hash in place of it, drop
            stores nothing.
    """

    css: Css | None = None
    xpath: XPath | None = None
    json_ld: TypeName | None = None
    microdata: TypeName | None = None
    attribute: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_:.-]{0,60}$")
    json_path: JsonPath | None = None
    regex: Pattern | None = None
    many: bool = False
    required: bool = False
    process: Process = "text"
    notation: Literal["1,234.56", "1.234,56", "1 234,56", "1'234.56", "1,23,456.78"] = "1,234.56"
    format: str | None = Field(default=None, min_length=2, max_length=60)
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    unit: str | None = Field(default=None, min_length=1, max_length=12)
    match: Match | None = None
    personal: Literal["mask", "drop"] | None = None

    @field_validator("currency")
    @classmethod
    def _a_currency(cls, value: str | None) -> str | None:
        if value is not None and value not in CURRENCIES:
            raise ValueError(f"expected a code of ISO 4217, e.g. EUR, found {value!r}")
        return value

    @field_validator("unit")
    @classmethod
    def _a_unit(cls, value: str | None) -> str | None:
        if value is not None and value.lower() not in UNITS:
            raise ValueError(f"expected a unit such as kg, cm or l, found {value!r}")
        return value

    @model_validator(mode="after")
    def _processes(self) -> Self:
        if (self.process == "date") != (self.format is not None):
            raise ValueError("expected process: date with a format, and no format without it")
        if (self.process == "quantity") != (self.unit is not None):
            raise ValueError("expected process: quantity with a unit, and no unit without it")
        if self.currency is not None and self.process != "money":
            raise ValueError("expected process: money with a currency")
        if self.match is not None and (self.process != "text" or self.personal is not None):
            raise ValueError("expected match with process: text, and not of a personal field")
        return self

    @model_validator(mode="after")
    def _selects(self) -> Self:
        sources = [self.css, self.xpath, self.json_ld, self.microdata]
        if sum(source is not None for source in sources) > 1:
            raise ValueError("expected one of css, xpath, json_ld and microdata")
        if (self.json_ld or self.microdata) and self.json_path is None:
            raise ValueError("expected json_path with json_ld and microdata")
        if not any([*sources, self.json_path, self.regex]):
            raise ValueError("expected css, xpath, json_ld, microdata, json_path or regex")
        if self.attribute is not None and self.css is None:
            raise ValueError("expected css with attribute")
        if self.notation not in NOTATIONS:
            raise ValueError(f"expected notation one of {', '.join(NOTATIONS)}")
        return self


class ItemRule(Strict):
    """Items of pages.

    Attributes:
        pages: Regular expression that the URL of a page with items contains; None: any page.
        each: Elements, each of which is an item; None: the page is one item.
        each_xpath: XPath 1.0 of such elements, in place of ``each``; fields have ``xpath``, too.
        each_json_path: Path of the items in a JSON body, in place of ``each``.
        each_json_ld: Type of objects in JSON-LD, each of which is an item.
        each_microdata: Type of objects in microdata, each of which is an item.
        parser: Class that returns the items of a page, ``package.module:Class``; see
            `PageParser`.
        key: Fields that identify an item.
        fields: Fields by name.
        tables: Reference tables of its fields by name.
        duplicates: Of items with the same key and other fields: all but the first are rejected, or
            the first or the last is loaded.
        json_schema: JSON Schema 2020-12 that each item keeps, formats included.
    """

    pages: Pattern | None = None
    each: Css | None = None
    each_xpath: XPath | None = None
    each_json_path: JsonPath | None = None
    each_json_ld: TypeName | None = None
    each_microdata: TypeName | None = None
    parser: ParserName | None = None
    key: list[str] = Field(min_length=1, max_length=10)
    fields: dict[Annotated[str, Field(pattern=FIELD_NAME)], ItemField] = Field(
        min_length=1, max_length=MAX_FIELDS
    )
    tables: dict[TableName, ReferenceTable] = Field(default={}, max_length=20)
    duplicates: Literal["reject", "first", "last"] = "reject"
    json_schema: dict[str, Any] | None = Field(default=None)

    @field_validator("json_schema")
    @classmethod
    def _a_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        from jsonschema_rs import Draft202012Validator, ReferencingError
        from jsonschema_rs import ValidationError as SchemaError

        if value is not None:
            try:
                Draft202012Validator(value, validate_formats=True, retriever=_refuse_reference)
            except (SchemaError, ReferencingError, ValueError) as error:
                reason = str(error).splitlines()[0]
                raise ValueError(f"expected a JSON Schema 2020-12: {reason}") from None
        return value

    @property
    def has_many_of_page(self) -> bool:
        """Whether a page may have several items."""
        return any(
            (
                *(self.each, self.each_xpath, self.each_json_path),
                *(self.each_json_ld, self.each_microdata),
            )
        )

    @property
    def has_personal_fields(self) -> bool:
        """Whether a field is of a person, so that no text of a page is stored beside its items."""
        return any(field.personal for field in self.fields.values())

    @model_validator(mode="after")
    def _has_its_key(self) -> Self:
        for name in self.key:
            item_field = self.fields.get(name)
            if item_field is None or not item_field.required or item_field.many:
                raise ValueError(f"expected key {name!r} among the required fields of one value")
            if item_field.personal or item_field.match or item_field.process == "money":
                raise ValueError(f"expected key {name!r} without personal, match and money")
        for name, field in self.fields.items():
            if field.match is not None and field.match.table not in self.tables:
                raise ValueError(f"expected a table {field.match.table!r} in tables, as of {name}")
        return self

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        eaches = (
            *(self.each, self.each_xpath, self.each_json_path),
            *(self.each_json_ld, self.each_microdata, self.parser),
        )
        if sum(name is not None for name in eaches) > 1:
            raise ValueError(
                "expected one of each, each_xpath, each_json_path, each_json_ld, each_microdata "
                "and parser"
            )
        if any(name is not None for name in eaches[3:]) and not all(
            field.json_path and not (field.css or field.xpath or field.json_ld or field.microdata)
            for field in self.fields.values()
        ):
            raise ValueError(
                "expected fields with json_path alone beside each_json_ld, each_microdata and "
                "parser"
            )
        if self.each_xpath and any(field.css for field in self.fields.values()):
            raise ValueError("expected fields with xpath beside each_xpath, not css")
        return self


def _refuse_reference(uri: str) -> Any:
    """Refuse schemas of other documents: nothing is fetched for a site file."""
    raise ValueError(f"a schema elsewhere: {uri}")


class Politeness(Strict):
    """Limits of requests at each host; a Crawl-delay of its robots.txt counts where it is longer.

    Attributes:
        requests_per_second: Requests in any second; below 1, a pause between two.
        concurrency: Requests in flight at the same time.
    """

    requests_per_second: float = Field(default=1.0, gt=0, le=1_000, strict=False)
    concurrency: int = Field(default=1, ge=1, le=64)


class Budget(Strict):
    """Limits of one crawl; one that reaches a limit is partial, and removes no item.

    Attributes:
        requests: Requests of pages.
        megabytes: Size of the bodies of pages, MB.
        page_megabytes: Size of the body of one page, MB.
        page_seconds: Time of one attempt at a page, s.
        seconds: Time of requests and loads, seconds; None: no limit.
        cost: Cost of the requests, in any unit; None: no limit.
        cost_per_request: Cost of one request, in the same unit; up to 6 places.
        urls: URLs that a crawl may find; further links, as of an endless calendar, are left out.
    """

    requests: int = Field(default=10_000, ge=1, le=10_000_000)
    megabytes: int = Field(default=1_000, ge=1, le=1_000_000)
    page_megabytes: int = Field(default=10, ge=1, le=256)
    page_seconds: int = Field(default=60, ge=1, le=3_600)
    seconds: int | None = Field(default=None, ge=1, le=604_800)
    cost: Amount | None = None
    cost_per_request: Amount = Decimal(0)
    urls: int = Field(default=100_000, ge=1, le=10_000_000)

    @model_validator(mode="after")
    def _has_cost(self) -> Self:
        if self.cost is not None and not self.cost_per_request:
            raise ValueError("expected a cost_per_request with cost, e.g. 0.002")
        return self


class Browsing(Strict):
    """Rendering of a page by the engine ``browser``.

    Attributes:
        wait_for: Element that has to appear; None: the page is rendered when its requests ended.
        scrolls: Times that the page is scrolled to its end, for lists that grow; scrolling ends
            when nothing more comes.
        post: Whether scripts of a page may send POST requests to the site, for lists that are
            requested so.
    """

    wait_for: Css | None = None
    scrolls: int = Field(default=0, ge=0, le=200)
    post: bool = False


class Retention(Strict):
    """Days after which records of crawls are deleted; items and their history always stay.

    Attributes:
        pages_days: Days of frontiers and of earlier states of pages; None: they stay.
        captures_days: Days of captured bytes that no current item needs, until
            `operations_clean_up` deletes them; None: as ARTIFACTS_CAPTURED_DAYS says.
    """

    pages_days: int | None = Field(default=None, ge=1, le=36_500)
    captures_days: int | None = Field(default=None, ge=1, le=36_500)


class Site(Strict):
    """Declaration of a site.

    Attributes:
        site: Its name; assets, job and rows have it.
        owner: Dagster's owner of its assets.
        base_url: Scheme and host of its pages; links to other hosts are not followed.
        hosts: Further origins whose pages belong to it.
        start: URLs or paths where a crawl begins.
        sitemaps: Sitemaps and indexes of them whose pages are fetched. A crawl of which one cannot
            be read is not complete, and removes no item.
        feeds: Feeds, RSS or Atom, whose pages are fetched. They list the newest entries: an item
            to which feeds alone led stays until its page answers 404 or 410.
        searches: Search forms whose results are fetched.
        follow: Links that are followed.
        paging: Pages of lists.
        proxy: Whether its requests may go by way of WEB_PROXIES, which resolve its names; then they
            go by no other way.
        login: Form that is sent before a crawl; None: none.
        item: Items of its pages.
        engine: Whether pages are taken as they are sent, or rendered by a browser.
        browser: Rendering by a browser.
        politeness: Limits of requests.
        budget: Limits of a crawl.
        schedule: Cron expression of its crawls; None: they are started manually. A further crawl of
            the same UTC day requests only what is left.
        timezone: Time zone of the schedule.
        retention: How long records of its crawls are kept.
        exports: Deliveries of its items after each complete crawl, by name.
        flag: Flag that must hold for a day, such as 2026-03-02, or it is not crawled; None: it is
            crawled on each.
    """

    site: SiteName
    owner: str = Field(default="team:operations", min_length=3, max_length=120)
    base_url: str
    hosts: list[str] = Field(default=[], max_length=50)
    start: list[str] = Field(default=[], max_length=1_000)
    sitemaps: list[UrlListStart] = Field(default=[], max_length=100)
    feeds: list[UrlListStart] = Field(default=[], max_length=100)
    searches: list[SearchStart] = Field(default=[], max_length=100)
    follow: list[FollowRule] = Field(default=[], max_length=100)
    paging: Paging | None = None
    proxy: Literal["allowed"] | None = None
    login: Login | None = None
    item: ItemRule
    engine: Literal["http", "browser"] = "http"
    browser: Browsing | None = None
    politeness: Politeness = Field(default=Politeness())
    budget: Budget = Field(default=Budget())
    schedule: str | None = Field(default=None, min_length=1, max_length=100)
    timezone: str = Field(default="UTC", max_length=100)
    retention: Retention = Field(default=Retention())
    exports: dict[ExportName, ItemExport] = Field(default={}, max_length=MAX_EXPORTS)
    flag: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9_]{0,59}$")

    @field_validator("timezone")
    @classmethod
    def _a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):  # unknown, a folder, or a path out of the zones
            raise ValueError(
                f"expected a time zone, e.g. Europe/Berlin, found {value[:60]!r}"
            ) from None
        return value

    @field_validator("base_url")
    @classmethod
    def _an_origin(cls, value: str) -> str:
        if not HTTP_ORIGIN.fullmatch(value):
            raise ValueError(
                f"expected scheme and host, e.g. https://shop.example.org, found {value!r}"
            )
        return value.lower()

    @field_validator("hosts")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        return [cls._an_origin(name) for name in value]

    @model_validator(mode="after")
    def _begins(self) -> Self:
        if not (self.start or self.sitemaps or self.feeds or self.searches):
            raise ValueError("expected start, sitemaps, feeds or searches")
        if self.browser is not None and self.engine != "browser":
            raise ValueError("expected engine: browser with browser")
        return self

    @property
    def origins(self) -> list[str]:
        """Scheme and host of all its pages, that of ``base_url`` first."""
        return [self.base_url, *self.hosts]


def read_site(content: str) -> Site:
    """Return the site that a YAML file declares.

    Raises:
        ConfigurationError: The file is invalid; names each problem with its line.
    """
    try:
        return Site.model_validate(read_yaml(content))
    except YAMLError as error:
        names = [syntax_problem(error)]
    except ValidationError as error:
        names = value_problems(content, error)
    raise ConfigurationError(
        "invalid site file",
        expected="site, base_url, start and item, as in config/sites/shop.yaml",
        found="; ".join(names),
        remedy="correct the file; an editor checks it by config/schemas/site.schema.json",
    )


def find_reason_not_to_crawl(day: str, *, is_partition: bool, why_off: str) -> str:
    """Return why a site is not crawled for a day; empty: it is.

    Args:
        day: The day.
        is_partition: Whether it is a partition.
        why_off: Why the flag of the site does not hold; empty: it does, or there is none.
    """
    if not is_partition:
        return f"Nothing to do: {day} is before the first partition."
    return f"Nothing to do: {why_off}." if why_off else ""
