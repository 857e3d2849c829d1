"""Groups of rows of a table or view, with sums, averages and bounds that the database finds."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import Field
from starlette.responses import Response

from orchestration_project.engine.contracts.api.models import Page
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import (
    RowPage,
    TableName,
    Text,
    chosen_relation,
    page_response,
)
from orchestration_project.gateway.api.operation import Body, Call, Operation
from orchestration_project.gateway.api.problems import ProblemError, problem_of
from orchestration_project.tables.queries.aggregates import EXPECTED, aggregate

MAX_GROUPS = 10_000
USUAL_GROUPS = 1_000


class Groups(TableName):
    """Groups of the rows of a table or view, in the order of the groups."""

    group_by: Text | None = Field(
        None, description="Columns, comma-separated; default: all rows are one group"
    )
    measure: list[Text] = Field(
        ["count"], min_length=1, max_length=20, description=f"For each group: {EXPECTED}"
    )
    where: list[Text] = Field(
        [], max_length=20, description="Filter, as for the rows of a table; all must hold"
    )
    as_of: Moment | None = Field(None, description="Point in time, as for the rows of a table")
    published_by: date | None = Field(None, description="Day, as for the rows of a table")
    limit: int = Field(USUAL_GROUPS, ge=1, le=MAX_GROUPS, description="At most so many groups")


async def read_groups(call: Call[Groups, Body]) -> Response:
    """Read groups of rows; more of them than ``limit`` are refused, as a part would look whole.

    Raises:
        ProblemError: A column, measure or condition is none; or there are more groups.
    """
    groups_query = call.query
    chosen = chosen_relation(
        call.caller, groups_query.name, groups_query.as_of, groups_query.published_by
    )
    by = [name.strip() for name in (groups_query.group_by or "").split(",") if name.strip()]
    try:
        statement = aggregate(
            chosen,
            by,
            groups_query.measure,
            groups_query.where,
            limit=groups_query.limit + 1,
        )
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    services, names = call.services, list(statement.selected_columns.keys())

    def read() -> list[Mapping[str, Any]]:
        with services.warehouse.reading(seconds=services.read_seconds) as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    rows = [
        {name: _convert_number(value) for name, value in row.items()}
        for row in await services.in_thread(read)
    ]
    if len(rows) > groups_query.limit:
        raise ProblemError(
            413,
            f"these are more than {groups_query.limit} groups",
            remedy=f"narrow them by `where`, or raise `limit`, at most {MAX_GROUPS}",
        )
    return page_response(groups_query.name, RowPage(names, rows, None))


def _convert_number(value: object) -> object:
    """Return the sum of whole numbers as one: PostgreSQL gives a decimal."""
    return int(value) if isinstance(value, Decimal) and value == value.to_integral() else value


OPERATIONS = (
    Operation(
        "GET",
        "/tables/{name}/groups",
        "viewer",
        "Add up rows",
        read_groups,
        query=Groups,
        answer=Page,
        problems=(413,),
    ),
)
