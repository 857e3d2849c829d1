"""The route of read-only SQL for analysts."""

import io
from functools import partial
from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from starlette.responses import Response

from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import FILE, MEDIA_TYPES
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import problem_of
from orchestration_project.services.analyst_sql import MAX_ROWS, ROLE_REMEDY, run_query
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
    format: Literal["csv", "parquet"] = Field("parquet", description="Format of the response")


async def read_sql(call: Call[Sql, Body]) -> Response:
    """Run a query in a read-only transaction, as the role of ANALYST_DATABASE_URL."""
    wanted, url = call.query, call.services.settings.analyst_database_url
    try:
        if url is None:
            raise ConfigurationError(
                "SQL for analysts is off", expected="ANALYST_DATABASE_URL", remedy=ROLE_REMEDY
            )
        query = partial(run_query, url.get_secret_value(), wanted.query, limit=wanted.limit)
        rows = await call.services.in_thread(query)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    content = io.BytesIO()
    WRITERS[wanted.format]([rows], content)
    headers = {
        "content-disposition": f'attachment; filename="query.{wanted.format}"',
        "cache-control": "no-store",
    }
    return Response(content.getvalue(), 200, headers, MEDIA_TYPES[wanted.format])


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
