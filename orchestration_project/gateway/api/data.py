"""Tables and views: described, and read a page or a file at a time; nothing can be written."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import polars as pl
from pydantic import Field, StringConstraints
from sqlalchemy import Select, Table, func, literal, select
from starlette.responses import Response

from orchestration_project.engine.contracts.api.models import (
    NEXT_CURSOR,
    Column,
    Described,
    Page,
    Tables,
)
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.engine.contracts.roles import Principal, Role
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.growing_files import (
    CHUNK_BYTES,
    GrowingFile,
    GrowingFileResponse,
)
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of, require_known
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.export import WRITERS, escape_formulas, write_parquet
from orchestration_project.services.retries.retrying import iterate_topics
from orchestration_project.services.status import ItemTopics
from orchestration_project.tables.catalogue import known_tables, relation, relation_as_of
from orchestration_project.tables.conditions import is_secret, write_condition
from orchestration_project.tables.queries.json_rows import write_json
from orchestration_project.tables.queries.paging import cursor_after, page
from orchestration_project.tables.queries.personal import masked
from orchestration_project.tables.queries.published import published_by
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.schema import HISTORY, key_names, personal_columns
from orchestration_project.tables.spine import work_items
from orchestration_project.tables.views import VIEWS

USUAL_ROWS = 100
MAX_FILE_ROWS = 1_000_000
"""Maximum rows of a CSV or Parquet file; the command `export` has no limit."""

BEGIN_MARGIN_SECONDS = 2.0
"""Until a file's sending begins, beyond what its read may take: so the database ends that first."""

UNSERVED_PREFIXES = ("access_",)
UNSERVED = frozenset(
    {"inbox", "inbox_states", "mqtt_inbox", "mqtt_seen_keys", "operations_erasure_requests"}
)
"""Tables of access, unread deliveries and subjects to erase: not data, and with secrets."""

MEDIA_TYPES = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}

Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class TableName(Parameters):
    """Table or view to describe."""

    name: Name = Field(description="The name of a table or view")


class Rows(TableName):
    """Rows of a table or view, in the order of its key."""

    columns: Text | None = Field(None, description="Columns, comma-separated; default: all")
    where: list[Text] = Field(
        [],
        max_length=20,
        description=(
            "Filter COLUMN OP VALUE, OP one of = != < <= > >=, COLUMN in (VALUE,VALUE), COLUMN "
            "between VALUE and VALUE, or (FILTER) or (FILTER). Blanks are ignored, and quotes "
            "optional, except for texts with commas. All must hold, and NULL matches none"
        ),
    )
    as_of: Moment | None = Field(
        None,
        description="Point in time: rows as they were known then; only for tables with history",
    )
    published_by: date | None = Field(
        None,
        description=(
            "Day, with as_of or alone: rows as their source had published them by then; only for "
            "tables that have dates of publication. Rows whose state then is not known are left "
            "out: GET /tables/{name}/missing"
        ),
    )
    order_by: Text | None = Field(
        None,
        description=(
            "Columns, comma-separated, descending after a -; then the key. Such rows have no pages"
        ),
    )
    format: Literal["json", "csv", "parquet"] = Field("json", description="Format of the response")
    escape_formulas: bool | None = Field(
        None,
        description=(
            "For csv, put ' before texts that begin with = + - @, a tab or a carriage return: in "
            "all columns or in none; default: in columns that senders write"
        ),
    )
    limit: int | None = Field(
        None,
        ge=1,
        le=MAX_FILE_ROWS,
        description=f"At most so many rows; of json {MAX_PAGE_ENTRIES} at most, "
        f"{USUAL_ROWS} if not said",
    )
    cursor: Text | None = Field(
        None,
        description="`next_cursor` of the previous page; a Parquet file with `limit` has it in its "
        "metadata if more rows may follow",
    )


class Items(Parameters):
    """Work items, in the order of topic and key."""

    topic: Name | None = Field(None, description="Topic, such as webhooks/github; default: all")
    state: Literal["ready", "leased", "done", "skipped", "failed", "dead"] | None = Field(
        None, description="State; default: all"
    )
    limit: int = Field(USUAL_ROWS, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of items")
    cursor: Text | None = Field(None, description="`next_cursor` of the previous page")


class RowPage(NamedTuple):
    """Rows in the order of their key.

    Attributes:
        columns: The columns to show; rows may have those of the key, too.
        rows: The rows, by column.
        next_cursor: Where the next page begins; None: this is the last one.
    """

    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    next_cursor: str | None


def served() -> Mapping[str, Table]:
    """Return the tables that can be read, by name; no table that has hashes of secrets."""
    return {
        name: table
        for name, table in known_tables().items()
        if not name.startswith(UNSERVED_PREFIXES)
        and name not in UNSERVED
        and not any(map(is_secret, table.columns))
    }


async def list_tables(call: Call[Parameters, Body]) -> Tables:
    """List the tables and views that can be read, with their columns."""
    return Tables(tables=[_describe_table(table) for table in served().values()])


def _describe_table(table: Table) -> Described:
    return Described(
        name=table.name,
        kind="view" if table.name in VIEWS else "table",
        description=str(table.comment),
        has_history=table.info.get(HISTORY) is not None,
        columns=[
            Column(
                name=column.key,
                type=str(column.type),
                is_nullable=bool(column.nullable),
                is_key=column.primary_key,
                description=str(column.comment),
            )
            for column in table.columns
        ],
    )


async def read_table(call: Call[Rows, Body]) -> Response:
    """Read rows of a table or view, as a page of JSON or as a file."""
    expected_rows = call.query
    chosen = chosen_relation(
        call.caller, expected_rows.name, expected_rows.as_of, expected_rows.published_by
    )
    return await rows_response(call.services, chosen, expected_rows)


async def rows_response(services: Services, chosen: Relation, wanted: "Selection") -> Response:
    """Return the rows that are asked for, as a page of JSON or as a file.

    Raises:
        ProblemError: A column, condition or cursor is invalid; or there are too many rows.
    """
    stripped = [name.strip() for name in (wanted.columns or "").split(",") if name.strip()]
    if wanted.format != "json":
        return await _stream_file(services, chosen, stripped, wanted)
    limit = wanted.limit or USUAL_ROWS
    if limit > MAX_PAGE_ENTRIES:
        raise ProblemError(
            422,
            f"a page has at most {MAX_PAGE_ENTRIES} rows",
            remedy="take pages, or format=csv or parquet",
        )
    if wanted.order_by is not None:
        row_page = await services.in_thread(_read_sorted_page, services, chosen, stripped, wanted)
    else:
        row_page = await services.in_thread(
            read_page, services, chosen, stripped, wanted.where, wanted.cursor, limit
        )
    return page_response(chosen.table.name, row_page)


async def list_items(call: Call[Items, Body]) -> Response:
    """List work items: what is worked on one by one, with state, attempts and reason."""
    query = call.query
    await call.services.in_thread(_require_topic, call.services, query.topic)
    given_names = {"topic": query.topic, "state": query.state}
    wheres = [write_condition(name, value) for name, value in given_names.items() if value]
    items = relation(work_items.name)
    row_page = await call.services.in_thread(
        read_page, call.services, items, [], wheres, query.cursor, query.limit
    )
    return page_response(work_items.name, row_page)


def _require_topic(services: Services, topic: str | None) -> None:
    """Refuse a topic that no item has, and that no domain declares."""
    declared = services.registry().registered(ItemTopics)
    if topic is None or any(topic.startswith(topics.prefix) for topics in declared):
        return
    with services.warehouse.reading() as connection:
        known_names = set(iterate_topics(connection))
    require_known("topic", topic, known_names)


def require_served(name: str) -> None:
    """Refuse a table or view that does not exist, or cannot be read.

    Raises:
        ProblemError: It is not one of `served`.
    """
    if name not in served():
        raise ProblemError(
            404, f"table or view not found: {name!r}", remedy="GET /api/v1/tables lists all"
        )


def require_unmasked(caller: Principal, name: str) -> None:
    """Refuse a table with personal columns to all but admins.

    Raises:
        ProblemError: As `require_served`; or the table has personal columns, which only admins
            may read.
    """
    require_served(name)
    if (personal := personal_columns(served()[name])) and not caller.role.covers(Role.ADMIN):
        raise ProblemError(
            403,
            f"{name} has personal columns: {', '.join(personal)}",
            remedy=f"ask an admin, or read GET /api/v1/tables/{name}/rows, which masks them",
        )


def has_personal_key(table: Table) -> bool:
    """Whether a column of a table's key is about a person: its rows cannot be masked."""
    return not set(key_names(table)).isdisjoint(personal_columns(table))


def chosen_relation(
    caller: Principal, name: str, as_of: datetime | None, published: date | None
) -> Relation:
    """Return the rows of a table or view that can be read, now, as of a time or by a day.

    Personal values are masked for all but admins.

    Raises:
        ProblemError: It does not exist, has no other times, or has a personal key that only
            admins may read.
    """
    require_served(name)
    if has_personal_key(served()[name]):
        require_unmasked(caller, name)
    try:
        if published:
            chosen = published_by(name, published, as_of).relation
        else:
            chosen = relation_as_of(name, as_of) if as_of else relation(name)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    return chosen if caller.role.covers(Role.ADMIN) else masked(chosen)


def read_page(
    services: Services,
    chosen: Relation,
    given: Sequence[str],
    wheres: Sequence[str],
    cursor: str | None,
    limit: int,
) -> RowPage:
    """Return a page and the cursor of the next: one row more is read to know if there is one.

    Raises:
        ProblemError: A column, a condition or the cursor is invalid; or the read took too long.
    """
    try:
        columns = chosen.columns(given)
        statement = page(chosen, columns, wheres, cursor=cursor, limit=limit + 1, in_iso=True)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        result = connection.execute(statement)
        names = list(result.keys())
        rows = [dict(zip(names, row, strict=True)) for row in result.all()]
    after = cursor_after(chosen, rows[limit - 1]) if len(rows) > limit else None
    return RowPage(columns, rows[:limit], after)


def _read_sorted_page(
    services: Services, chosen: Relation, given: Sequence[str], wanted: "Selection"
) -> RowPage:
    """Return the first rows in the order that is asked for.

    Raises:
        ProblemError: A column or condition is invalid; or there are more rows than a page has.
    """
    statement, columns = _build_statement(chosen, given, wanted, default_limit=MAX_PAGE_ENTRIES + 1)
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        rows = [dict(row) for row in connection.execute(statement).mappings()]
    if len(rows) > MAX_PAGE_ENTRIES:
        raise ProblemError(
            413,
            f"these are more than {MAX_PAGE_ENTRIES} rows, and sorted rows have no pages",
            remedy="add `limit`, or take format=csv or parquet",
        )
    return RowPage(columns, [{name: row[name] for name in columns} for row in rows], None)


def _build_statement(
    chosen: Relation, given: Sequence[str], wanted: "Selection", *, default_limit: int | None = None
) -> tuple[Select[Any], list[str]]:
    """Return the select of rows, and the columns to show.

    Raises:
        ProblemError: A column, condition or cursor is invalid; or sorted rows are wanted by page.
    """
    limit = wanted.limit or default_limit
    try:
        columns = chosen.columns(given)
        if wanted.order_by is None:
            return page(chosen, columns, wanted.where, cursor=wanted.cursor, limit=limit), columns
        if wanted.cursor is not None:
            raise ProblemError(
                422, "sorted rows have no pages", remedy="leave out `order_by` or `cursor`"
            )
        order = [name.strip() for name in wanted.order_by.split(",") if name.strip()]
        sorted_rows = chosen.select(columns, wanted.where, order_by=order, limit=limit)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    if not isinstance(sorted_rows, Select):
        raise AssertionError("sorted rows are a select")
    return sorted_rows, columns


def page_response(table: str, found: RowPage) -> Response:
    """Return a page as JSON: numbers exact, days and moments in ISO 8601, decimals as text."""
    rows = found.rows
    if rows and rows[0].keys() != set(found.columns):  # the key was not asked for
        rows = [{name: row[name] for name in found.columns} for row in rows]
    whole = {"table": table, "rows": rows, "next_cursor": found.next_cursor}
    return Response(write_json(whole), 200, {"cache-control": "no-store"}, "application/json")


class Selection(Protocol):
    """Request for rows: columns, conditions, format, and where it begins and ends."""

    columns: str | None
    where: list[str]
    format: Literal["json", "csv", "parquet"]
    escape_formulas: bool | None
    order_by: str | None
    limit: int | None
    cursor: str | None


async def _stream_file(
    services: Services, chosen: Relation, given: Sequence[str], wanted: Selection
) -> Response:
    """Return rows as a file that is sent while it is written."""
    statement, columns = _build_statement(chosen, given, wanted)
    escape = wanted.escape_formulas if wanted.format == "csv" else False
    escaped = chosen.escaped_columns(columns, escape=escape)
    seconds = services.read_seconds

    def write(file: GrowingFile) -> None:
        if wanted.limit is None:
            _require_few_rows(services, statement)
        last = _LastRow()
        with services.warehouse.batches(statement, chosen.table, seconds=seconds) as batches:
            frames = (
                escape_formulas(frame.select(columns), escaped) for frame in last.noted(batches)
            )
            if wanted.format == "parquet":
                write_parquet(file.followed(frames), file.sink, footer=lambda: next_page(last))
            else:
                WRITERS[wanted.format](file.followed(frames), file.sink)

    def next_page(last: _LastRow) -> Mapping[str, str]:
        is_full = wanted.order_by is None and last.row_count == wanted.limit
        return {NEXT_CURSOR: cursor_after(chosen, last.row)} if is_full else {}

    name = f"{chosen.table.name}.{wanted.format}"
    return await sent_file(services, write, name=name, media_type=MEDIA_TYPES[wanted.format])


class _LastRow:
    """The last row of batches, and how many rows there were.

    Attributes:
        row: By column, with those of the key.
        row_count: Rows so far.
    """

    def __init__(self) -> None:
        self.row: Mapping[str, Any] = {}
        self.row_count = 0

    def noted(self, batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """Pass batches on."""
        for batch in batches:
            self.row_count += batch.height
            if batch.height:
                self.row = batch.row(-1, named=True)
            yield batch


async def sent_file(
    services: Services, write: Callable[[GrowingFile], object], *, name: str, media_type: str
) -> Response:
    """Return a file that ``write`` writes in a thread, sent while it grows.

    Raises:
        TimeoutError: Its sending did not begin within the time of a read.
    """
    file = GrowingFile(services.file_threads, write)
    try:
        async with asyncio.timeout(services.read_seconds + BEGIN_MARGIN_SECONDS):
            size = await file.begun(CHUNK_BYTES)
    except BaseException:
        file.abandon()
        raise
    headers = {
        "content-disposition": f'attachment; filename="{name}"',
        "cache-control": "no-store",
    }
    headers |= {} if size is None else {"content-length": str(size)}
    return GrowingFileResponse(file, headers, media_type)


def _require_few_rows(services: Services, statement: Select[Any]) -> None:
    """Refuse too many rows before any is sent: a file that is cut could look whole.

    Raises:
        ProblemError: There are more than MAX_FILE_ROWS.
    """
    some = (
        statement.with_only_columns(literal(1), maintain_column_froms=True)
        .order_by(None)
        .limit(MAX_FILE_ROWS + 1)
    )
    counted = select(func.count()).select_from(some.subquery())
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        if connection.execute(counted).scalar_one() > MAX_FILE_ROWS:
            raise ProblemError(
                413,
                f"these are more than {MAX_FILE_ROWS} rows",
                remedy="narrow them by `where`, or use the command `export`",
            )


FILE = {"type": "string", "format": "binary"}

OPERATIONS = (
    Operation("GET", "/tables", "viewer", "List tables and views", list_tables, answer=Tables),
    Operation(
        "GET",
        "/tables/{name}",
        "viewer",
        "Read rows",
        read_table,
        query=Rows,
        answer=Page,
        media={"text/csv": FILE, "application/vnd.apache.parquet": FILE},
        problems=(413,),
    ),
    Operation("GET", "/items", "viewer", "List work items", list_items, query=Items, answer=Page),
)
