"""FINRA's routes of the API: the trading of a week and tier, and gold as of a time."""

import io
import shlex
from contextlib import suppress
from datetime import date
from functools import partial
from typing import Literal

from pydantic import ConfigDict, Field
from starlette.responses import Response

from orchestration_project.domains.finra.selection import week_ending_on
from orchestration_project.engine.contracts.api.models import GoldExport, Page
from orchestration_project.engine.contracts.job_kinds import EXPORT_GOLD
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.engine.warehouse.as_of import DerivedAsOf, derive_as_of
from orchestration_project.errors import ConfigurationError
from orchestration_project.gateway.api.data import (
    FILE,
    MEDIA_TYPES,
    USUAL_ROWS,
    Text,
    page_response,
    read_page,
)
from orchestration_project.gateway.api.jobs import Launch, launch
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, not_found, problem_of
from orchestration_project.gateway.api.runs import MAX_PAGE_ENTRIES, Name
from orchestration_project.gateway.api.services import Services
from orchestration_project.services.export import WRITERS
from orchestration_project.services.exports import GoldRequest
from orchestration_project.tables.catalogue import relation
from orchestration_project.tables.conditions import write_condition
from orchestration_project.tables.queries.published import REASONS

CHECK_SECONDS = 2.0
"""Time limit of the check of an export, which derives what the run derives."""

TRADE_ACTIVITY = "v_finra_otc_weekly"


class Activity(Parameters):
    """Week and tier to read."""

    week_ending: date = Field(description="The Friday on which the week ends")
    tier: Name = Field(description="Such as T1")
    symbol: Name | None = Field(None, description="Symbol; default: all")
    limit: int = Field(USUAL_ROWS, ge=1, le=MAX_PAGE_ENTRIES, description="Maximum number of rows")
    cursor: Text | None = Field(None, description="`next_cursor` of the previous page")


async def trade_activity(call: Call[Activity, Body]) -> Response:
    """Read the trading of a week and tier, a row for each symbol and venue or firm."""
    activity_query = call.query
    try:
        week = week_ending_on(activity_query.week_ending.isoformat())
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    wheres = [f"week_start={week}", f"tier={activity_query.tier}"]
    wheres += (
        [write_condition("symbol", activity_query.symbol)]
        if activity_query.symbol is not None
        else []
    )
    chosen = relation(TRADE_ACTIVITY)
    row_page = await call.services.in_thread(
        read_page,
        call.services,
        chosen,
        (),
        wheres,
        activity_query.cursor,
        activity_query.limit,
    )
    if not row_page.rows and activity_query.symbol is None and activity_query.cursor is None:
        raise not_found("nothing is loaded of it")
    return page_response(TRADE_ACTIVITY, row_page)


class GoldTable(Parameters):
    """Gold table to derive."""

    name: Name = Field(description="The name of a gold table")


class Gold(GoldTable):
    """Partition of a gold table, and the time of which it is."""

    partition: Name = Field(
        description="T1|2025-11-10; Monday or day of tables of all tiers; symbol of prices; all"
    )
    as_of: Moment | None = Field(
        None, description="Point in time: only what was loaded by then counts; default: all"
    )
    published_by: date | None = Field(
        None, description="Day: only what FINRA had published by then counts; default: all"
    )
    format: Literal["csv", "parquet"] = Field("parquet", description="Format of the response")


class NewGoldExport(Body):
    """Partition of the gold table, and the time of which it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"partition": "all", "as_of": "2026-11-01T00:00:00Z"}]}
    )

    partition: Name = Field(description="As for GET /finra/gold/{name}")
    as_of: Moment = Field(description="Point in time: only what was loaded by then counts")
    published_by: date | None = Field(
        None, description="Day: only what FINRA had published by then counts; default: all"
    )


async def read_gold(call: Call[Gold, Body]) -> Response:
    """Derive a partition of a gold table as of a time, of weekly rows, and send it as a file.

    The headers X-Missing-Earlier-State, X-Undated, X-Undated-First-Publication and
    X-Undated-Removal count weekly rows that are left out; GET /tables/{name}/missing names them.
    What takes longer than a read may is a problem 413: POST /finra/gold/{name}/exports has a run
    derive it.
    """
    query = call.query
    try:
        derived_as_of, content = await call.services.in_thread(_derive, call)
    except ConfigurationError as error:
        raise problem_of(error, 422) from error
    except TimeoutError as error:
        raise ProblemError(
            413,
            f"deriving {query.name} of {query.partition} took longer than "
            f"{call.services.read_seconds:g} s, and was ended",
            expected="fewer weeks",
            remedy=f"POST /api/v1/finra/gold/{query.name}/exports derives it by a run; so does "
            f"the command `{_render_command(query)}`",
        ) from error
    counts = derived_as_of.left_out.counts
    headers = {
        "content-disposition": f'attachment; filename="{query.name}.{query.format}"',
        "cache-control": "no-store",
        **{f"x-{reason.replace('_', '-')}": str(counts.get(reason, 0)) for reason in REASONS},
    }
    return Response(content, 200, headers, MEDIA_TYPES[query.format])


def _derive(call: Call[Gold, Body]) -> tuple[DerivedAsOf, bytes]:
    query, services = call.query, call.services
    derived_as_of = derive_as_of(
        services.warehouse,
        services.registry().tables_as_of,
        query.name,
        query.partition,
        at=query.as_of,
        day=query.published_by,
        seconds=services.read_seconds,
    )
    content = io.BytesIO()
    WRITERS[query.format]([derived_as_of.rows], content)
    return derived_as_of, content.getvalue()


def _render_command(wanted: Gold) -> str:
    """Return the command that derives the same."""
    names = ["orchestrate", "gold", wanted.name, wanted.partition]
    names += ["--as-of", wanted.as_of.isoformat()] if wanted.as_of else []
    names += ["--published-by", str(wanted.published_by)] if wanted.published_by else []
    return shlex.join([*names, "--output", f"{wanted.name}.{wanted.format}"])


async def export_gold(call: Call[GoldTable, NewGoldExport]) -> GoldExport:
    """Derive a partition of a gold table as of a time, however long it takes; a run does it."""
    name, body = call.query.name, call.body
    if name not in call.services.registry().tables_as_of:
        raise not_found(f"gold table not found: {name!r}")
    gold_request = GoldRequest(name, body.partition, body.as_of, body.published_by)
    config = {"table": name, **body.model_dump(mode="json", exclude_none=True)}
    launched = await launch(
        call,
        Launch(
            EXPORT_GOLD.job,
            config=EXPORT_GOLD.run_config(config),
            check=partial(_check_gold, call.services, gold_request),
        ),
    )
    return GoldExport(file=gold_request.artifact, **launched.model_dump())


def _check_gold(services: Services, wanted: GoldRequest) -> None:
    """Refuse a partition that cannot be derived; one that takes longer is left to the run."""
    with suppress(TimeoutError):
        derive_as_of(
            services.warehouse,
            services.registry().tables_as_of,
            wanted.table,
            wanted.partition,
            at=wanted.at,
            day=wanted.day,
            seconds=CHECK_SECONDS,
        )


OPERATIONS = (
    Operation(
        "GET",
        "/finra/gold/{name}",
        "viewer",
        "Derive gold as of a time",
        read_gold,
        query=Gold,
        media={"text/csv": FILE, "application/vnd.apache.parquet": FILE},
        problems=(413,),
    ),
    Operation(
        "POST",
        "/finra/gold/{name}/exports",
        "operator",
        "Export gold as of a time",
        export_gold,
        query=GoldTable,
        body=NewGoldExport,
        answer=GoldExport,
        headers=IDEMPOTENCY_HEADER,
        status=202,
        problems=(404,),
    ),
    Operation(
        "GET",
        "/finra/trade-activity",
        "viewer",
        "Read the trading of a week",
        trade_activity,
        query=Activity,
        answer=Page,
    ),
)
