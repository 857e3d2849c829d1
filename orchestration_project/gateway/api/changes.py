"""The change feed of a table, by pages and as server-sent events."""

from dataclasses import dataclass

from pydantic import Field
from starlette.responses import Response

from orchestration_project.engine.contracts.api.models import TableChanges
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import (
    USUAL_ROWS,
    TableName,
    Text,
    has_personal_key,
    require_served,
    require_unmasked,
    served,
)
from orchestration_project.gateway.api.feeds import SSE, Entry, FeedPage, FeedSource
from orchestration_project.gateway.api.operation import Body, Call, Operation
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.change_feed import (
    LATEST,
    Change,
    ChangePage,
    Position,
    find_position,
    read_changes,
    read_last_position,
)
from orchestration_project.tables.queries.json_rows import write_json

FEED_PREFIX = "changes "
MAX_BATCH_CHANGES = 500


class Changes(TableName):
    """Changes of a table after a place in its feed."""

    after: Text | None = Field(
        None,
        description="`next_cursor` of the previous page, or `cursor` of a change; latest: after "
        "all changes of now; default: before the first",
    )
    columns: Text | None = Field(
        None, description="Columns, comma-separated, beside the key; default: all"
    )
    limit: int = Field(
        USUAL_ROWS, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of changes"
    )


async def read_table_changes(call: Call[Changes, Body]) -> Response:
    """Read the changes of a table in order of commit: each once for a reader that keeps a cursor.

    A table needs a history. A change has the row that a load wrote or ended, with cause and
    delivery; capture_id of the row leads to its bytes.
    """
    query = call.query
    _require_feed(call)
    try:
        page = await call.services.in_thread(
            _read_page, call.services, query, not call.caller.role.covers(Role.ADMIN)
        )
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    content = write_json(
        {
            "table": query.name,
            "changes": [change.to_fields() for change in page.changes],
            "next_cursor": str(page.position),
            "is_more": page.is_more,
        }
    )
    return Response(content, 200, {"cache-control": "no-store"}, "application/json")


def _require_feed(call: Call[Changes, Body] | Call[TableName, Body]) -> None:
    """Refuse a table that the caller may not read.

    Raises:
        ProblemError: It is unknown or not served, or its key is of persons and the caller no admin.
    """
    name = call.query.name
    require_served(name)
    if has_personal_key(served()[name]):
        require_unmasked(call.caller, name)


def _read_page(services: Services, wanted: Changes, is_masked: bool) -> ChangePage:
    columns = [name.strip() for name in (wanted.columns or "").split(",") if name.strip()]
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        return read_changes(
            connection,
            wanted.name,
            find_position(connection, wanted.name, wanted.after),
            limit=wanted.limit,
            columns=columns,
            is_masked=is_masked,
        )


async def follow_table_changes(call: Call[TableName, Body]) -> Response:
    """Follow the changes of a table as they are committed, as server-sent events.

    An event `change` has its cursor as its ID, and the change as data. Last-Event-ID goes on where
    a connection broke off, or after a cursor of the feed; 0: with the first change; without it:
    with what comes from now. Personal columns are left out.
    """
    services, name = call.services, call.query.name
    _require_feed(call)
    written = call.request.headers.get("last-event-id")
    try:
        source = ChangeSource(services.warehouse, name, services.read_seconds)
        begin = await services.in_thread(source.find_begin, LATEST if written is None else written)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    feed = services.feed_of(FEED_PREFIX + name, source)
    return services.follow(feed, call.request.scope, after=begin, selects=lambda _: True)


@dataclass(frozen=True)
class ChangeSource(FeedSource[Position]):
    """Changes of a table; a cursor is a place in its feed."""

    warehouse: Warehouse
    name: str
    read_seconds: float
    event_type: str = "change"
    poll_seconds: float = 1.0

    def read(self, after: Position) -> FeedPage[Position]:
        """Return the changes after a place."""
        with self.warehouse.reading(seconds=self.read_seconds) as connection:
            # Personal columns are left out, but for those of a key, which admins alone may follow.
            page = read_changes(
                connection, self.name, after, limit=MAX_BATCH_CHANGES, is_masked=False
            )
        return FeedPage(
            [self._entry(change) for change in page.changes], page.position, page.is_more
        )

    def find_begin(self, written: str) -> Position:
        """Return the place that a cursor names.

        Raises:
            ConfigurationError: The table has no feed, or the cursor is not one of it.
        """
        with self.warehouse.reading(seconds=self.read_seconds) as connection:
            begin = find_position(connection, self.name, written)
            read_changes(connection, self.name, begin, limit=1, is_masked=False)
        return begin

    def read_end(self) -> Position:
        """Return the place after all changes of now."""
        with self.warehouse.reading(seconds=self.read_seconds) as connection:
            return read_last_position(connection, self.name)

    def advance(self, cursor: Position, entry: Entry[Position]) -> Position | None:
        """Return the place after a change; None: the cursor is not before it."""
        return entry.cursor if entry.cursor > cursor else None

    def is_behind(self, cursor: Position, other: Position) -> bool:
        """Whether a place is before another."""
        return cursor < other

    def _entry(self, change: Change) -> Entry[Position]:
        text = write_json(change.to_fields())
        return Entry(change.position, change, text, self.write_event(text, change.position))


OPERATIONS = (
    Operation(
        "GET",
        "/tables/{name}/changes",
        "viewer",
        "Read the changes of a table",
        read_table_changes,
        query=Changes,
        answer=TableChanges,
    ),
    Operation(
        "GET",
        "/tables/{name}/changes/stream",
        "viewer",
        "Follow the changes of a table",
        follow_table_changes,
        query=TableName,
        media={SSE: {"type": "string"}},
        headers={"Last-Event-ID": "The ID of the last event that was received, or a cursor"},
    ),
)
