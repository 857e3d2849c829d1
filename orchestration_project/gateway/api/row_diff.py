"""Changes of a table between two times, and rows that a state by publication leaves out."""

from datetime import date
from typing import Literal

from pydantic import Field
from starlette.responses import Response

from orchestration_project.engine.contracts.api.models import MissingRows, Page
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import (
    FILE,
    MAX_FILE_ROWS,
    TableName,
    Text,
    require_unmasked,
    rows_response,
)
from orchestration_project.gateway.api.operation import Body, Call, Operation
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES
from orchestration_project.gateway.api.services import Services
from orchestration_project.tables.queries.published import (
    MISSING,
    NO_FIRST_DAY,
    REMOVED,
    UNDATED,
    published_by,
)
from orchestration_project.tables.queries.relations import Relation
from orchestration_project.tables.queries.row_diff import publication_diff, row_diff


class Diff(TableName):
    """Rows that differ between two times, in the order of the key."""

    since: Moment | None = Field(None, description="First point in time")
    until: Moment | None = Field(None, description="Second point in time, not before the first")
    published_from: date | None = Field(
        None,
        description="Instead of since: day, as published_by for the rows of a table",
    )
    published_by: date | None = Field(
        None, description="Instead of until: second day, not before the first"
    )
    columns: Text | None = Field(None, description="Columns, comma-separated; default: all")
    where: list[Text] = Field(
        [], max_length=20, description="Filter, as for the rows of a table; all must hold"
    )
    format: Literal["json", "csv", "parquet"] = Field("json", description="Format of the response")
    escape_formulas: bool | None = Field(
        None, description="For csv, put ' before texts that a spreadsheet would calculate"
    )
    order_by: Text | None = Field(
        None, description="Columns, comma-separated, - for descending; default: the key"
    )
    limit: int | None = Field(
        None,
        ge=1,
        le=MAX_FILE_ROWS,
        description=f"Maximum number of rows; of json {MAX_PAGE_ENTRIES} at most",
    )
    cursor: Text | None = Field(None, description="`next_cursor` of the previous page")


async def read_diff(call: Call[Diff, Body]) -> Response:
    """Read the rows of a table that were added, changed or removed between two times."""
    diff_request = call.query
    require_unmasked(call.caller, diff_request.name)
    try:
        chosen = _select_changes(diff_request)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    return await rows_response(call.services, chosen, diff_request)


def _select_changes(wanted: Diff) -> Relation:
    """Return the rows that differ.

    Raises:
        ConfigurationError: Neither two times nor two days are given, or a table has no such states.
    """
    is_of_loads = wanted.since or wanted.until
    is_of_publication = wanted.published_from or wanted.published_by
    if wanted.since and wanted.until and not is_of_publication:
        return row_diff(wanted.name, wanted.since, wanted.until)
    if wanted.published_from and wanted.published_by and not is_of_loads:
        return publication_diff(wanted.name, wanted.published_from, wanted.published_by)
    raise ConfigurationError(
        "invalid times: expected since and until, or published_from and published_by",
        remedy="give two times with their zone, or two days",
    )


class Missing(TableName):
    """Rows of a table that its state by publication leaves out."""

    published_by: date = Field(description="Day, as for the rows of a table")
    as_of: Moment | None = Field(None, description="Point in time, as for the rows of a table")
    where: list[Text] = Field(
        [], max_length=20, description="Filter, as for the rows of a table; all must hold"
    )
    limit: int = Field(
        MAX_PAGE_ENTRIES, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of keys"
    )


async def read_missing(call: Call[Missing, Body]) -> MissingRows:
    """Count the rows that published_by leaves out, and name them with the reason."""
    require_unmasked(call.caller, call.query.name)
    return await call.services.in_thread(_read_missing, call.services, call.query)


def _read_missing(services: Services, wanted: Missing) -> MissingRows:
    try:
        state = published_by(wanted.name, wanted.published_by, wanted.as_of)
        counts, keys = state.left_out(wanted.where), state.missing(wanted.where)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    with services.warehouse.reading(seconds=services.read_seconds) as connection:
        numbers = {row.reason: int(row.row_count) for row in connection.execute(counts)}
        rows = connection.execute(keys.limit(wanted.limit)).mappings()
        return MissingRows(
            missing_earlier_state=numbers.get(MISSING, 0),
            undated_count=numbers.get(UNDATED, 0),
            undated_first_publication=numbers.get(NO_FIRST_DAY, 0),
            undated_removal=numbers.get(REMOVED, 0),
            keys=[{name: str(value) for name, value in each.items()} for each in rows],
        )


OPERATIONS = (
    Operation(
        "GET",
        "/tables/{name}/diff",
        "viewer",
        "Compare two times of a table",
        read_diff,
        query=Diff,
        answer=Page,
        media={"text/csv": FILE, "application/vnd.apache.parquet": FILE},
        problems=(413,),
    ),
    Operation(
        "GET",
        "/tables/{name}/missing",
        "viewer",
        "Name rows left out by publication",
        read_missing,
        query=Missing,
        answer=MissingRows,
    ),
)
