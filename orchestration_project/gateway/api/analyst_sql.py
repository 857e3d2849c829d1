"""The route of read-only SQL for analysts."""

import io
from collections.abc import Callable, Collection
from functools import partial
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, StringConstraints
from starlette.responses import Response

from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import FILE, MEDIA_TYPES, has_personal_key, served
from orchestration_project.gateway.api.operation import (
    Body,
    Call,
    Operation,
    Parameters,
)
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.services.analyst_sql import MAX_ROWS, sqlite
from orchestration_project.services.export import WRITERS

MAX_CHARACTERS = 5000


class Sql(Parameters):
    """A query, and how its rows are sent."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=MAX_CHARACTERS)] = Field(
        description="One SELECT, such as SELECT * FROM finra_symbols"
    )
    limit: int = Field(
        MAX_ROWS, ge=1, le=MAX_ROWS, description="Rows that the query may have; more are refused"
    )
    as_of: Moment | None = Field(
        None, description="Moment at which tables are read, as they were known; default: now"
    )
    format: Literal["csv", "parquet"] = Field("parquet", description="Format of the response")


async def read_sql(call: Call[Sql, Body]) -> Response:
    """Run a query that can only read: as the role of ANALYST_DATABASE_URL, or on SQLite."""
    sql_query = call.query
    try:
        query = partial(
            _build_query(call), sql_query.query, as_of=sql_query.as_of, limit=sql_query.limit
        )
        rows = await call.services.in_thread(query)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    content = io.BytesIO()
    WRITERS[sql_query.format]([rows], content)
    headers = {
        "content-disposition": f'attachment; filename="query.{sql_query.format}"',
        "cache-control": "no-store",
    }
    return Response(content.getvalue(), 200, headers, MEDIA_TYPES[sql_query.format])


def _build_query(call: Call[Sql, Body]) -> Callable[..., pl.DataFrame]:
    """Return the function that runs a query of the caller."""
    is_admin = call.caller.role.covers(Role.ADMIN)
    readable = sqlite.Readable.of_role(readable_tables(is_admin), is_admin=is_admin)
    services = call.services
    return sqlite.choose_database(
        services.settings.analyst_database_url, services.warehouse.file, readable
    )


def readable_tables(is_admin: bool) -> Collection[str]:
    """Return the tables and views that a role reads by the API, whose keys are not personal."""
    return {name for name, table in served().items() if is_admin or not has_personal_key(table)}


OPERATIONS = (
    Operation(
        "GET",
        "/sql",
        "viewer",
        "Query by SQL",
        read_sql,
        query=Sql,
        media={"text/csv": FILE, "application/vnd.apache.parquet": FILE},
    ),
)
