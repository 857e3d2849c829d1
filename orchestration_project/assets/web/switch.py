"""Kill switch of a site: a job sets it, and running crawls end before their next request."""

from enum import StrEnum
from typing import Any

import dagster as dg
from pydantic import Field

from orchestration_project.assets.specs import build_asset_spec
from orchestration_project.assets.web.shared import GROUP, OWNERS
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.tables import web_switches
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.job_options import describe_job
from orchestration_project.engine.options import JobOptions
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.web.sites import site_files_of
from orchestration_project.resources.web.switches import SwitchChange, set_switch
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.links import build_rows_path, link
from orchestration_project.services.metadata import build_schema, log_metadata

SWITCHES = dg.AssetKey([GROUP, "switches"])
SWITCH_OP, SWITCH_JOB = "set_web_switch", "web_set_switch"


class Switch(StrEnum):
    """State of a switch."""

    off = "off"
    on = "on"


class SetSwitch(JobOptions):
    """Site, state, reason and user of a change."""

    site: str = Field(examples=["shop"], description="Name of the site.")
    state: Switch = Field(
        examples=["off"], description="off: no request leaves, and crawls end as stopped."
    )
    reason: str = Field(
        min_length=1,
        max_length=300,
        examples=["the owner of the site asked for it"],
        description="Reason, which the crawls show.",
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )


@dg.multi_asset(
    name=SWITCH_OP,
    specs=[
        build_asset_spec(
            SWITCHES,
            str(web_switches.comment),
            build_schema(web_switches.columns),
            "state",
            owners=OWNERS,
            **{"dagster/table_name": web_switches.name},
        )
    ],
)
def set_web_switch(
    context: dg.AssetExecutionContext,
    config: SetSwitch,
    clock: dg.ResourceParam[Clock],
    settings: dg.ResourceParam[WebSettings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.MaterializeResult[Any]:
    """Record the change: each crawl looks the switch up before every request."""
    change = SwitchChange(
        site=config.site,
        is_off=config.state is Switch.off,
        reason=config.reason,
        by=find_editor(context.run.tags, config.who) or "unknown",
        at=clock.now(),
        run_id=context.run.run_id,
    )
    files = site_files_of(WebSettings.of(settings))
    names = [*files.sites, *(name.removesuffix(".yaml") for name in files.problems)]
    set_switch(warehouse, change, names)
    return dg.MaterializeResult(
        asset_key=SWITCHES,
        metadata=log_metadata(
            {
                "site": change.site,
                "is_off": change.is_off,
                "reason": change.reason,
                "changed_by": change.by,
                "table_rows": link(build_rows_path(web_switches.name, f"site={change.site}")),
            }
        ),
    )


switch_job = dg.define_asset_job(
    SWITCH_JOB,
    selection=dg.AssetSelection.assets(set_web_switch),
    description=describe_job(
        "Sets the kill switch of a site. Off: no request leaves from 1 s after it on.",
        SWITCH_OP,
        SetSwitch,
    ),
    tags={"domain": GROUP},
)
