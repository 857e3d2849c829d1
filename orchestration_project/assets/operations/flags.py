"""Flags: edited by a job, shown with what uses them, and checked."""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import CONTROL_TOWER, DEFINITIONS
from orchestration_project.assets.operations.edits import EditOptions, make_edit
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.contracts.flags import StoredFlag, require_unused
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.edits import EditResult
from orchestration_project.services.flags import FLAG_STORE, FlagReport, report_flags
from orchestration_project.services.metadata import build_result, build_table, check_spec
from orchestration_project.settings import Settings

CHECK = "flags_are_current_and_used"
"""Of the control tower, whose job looks each hour: an operator may start that, not an edit."""

MAX_SHOWN = 100
"""Flags that the metadata lists, so that an event stays small; the count is of all."""

ACTIONS = (Action.CREATE, Action.CHANGE, Action.DELETE)
FlagAction = Enum("FlagAction", {text.value: text.value for text in ACTIONS})

SHOWN_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("name", "state"), pl.String),
    "share": pl.Float64,
    **dict.fromkeys(("listed_keys", "owner", "expires_at", "used_by"), pl.String),
    "version": pl.Int64,
    "edited_by": pl.String,
}


class EditFlag(EditOptions):
    """Edit of one flag."""

    action: FlagAction = Field(  # pyright: ignore[reportInvalidTypeForm] - names of an enumeration
        examples=["create"], description="Edit of the flag."
    )
    name: str = Field(examples=["new_layout"], description="Name of the flag.")
    fields: dict[str, Any] = Field(
        default={},
        examples=[{"share": 0.1, "listed_keys": ["2026-03-02"], "owner": "ada"}],
        description="Fields of a new flag, or those that change; see docs/how-to/use-flags.md.",
    )


def edit_flag(
    context: dg.OpExecutionContext,
    config: EditFlag,
    clock: Clock,
    registry: Registry,
    settings: Settings,
    warehouse: Warehouse,
) -> Iterator[AssetEvent]:
    """Judge an edit, and make it unless this is a dry run."""

    def report() -> FlagReport:
        return report_flags(warehouse, registry, settings, clock.now())

    def judge(planned: EditResult[StoredFlag]) -> Mapping[str, Any]:
        used = report().used
        if planned.after is None:
            require_unused(config.name, used)
        return {"used_by": ", ".join(used.get(config.name, [])) or "nothing"}

    yield from make_edit(
        *(context, config, clock, warehouse, FLAG_STORE),
        judge=judge,
        show=lambda _: describe_flags(report()),
    )
    yield judge_flags(report())


def describe_flags(report: FlagReport) -> Mapping[str, Any]:
    """Return the metadata of the flags: their count, and a table."""
    rows = [
        {
            **dict(flag),
            "state": "expired" if flag.is_expired else "in effect",
            "listed_keys": ", ".join(flag.listed_keys[:10]),
            "expires_at": stored.definition.expiry,
            "used_by": ", ".join(flag.used_by[:10]),
        }
        for stored, flag in zip(report.stored, report.shown, strict=True)
    ]
    data_frame = pl.DataFrame(rows[:MAX_SHOWN], SHOWN_COLUMNS)
    return {"flag_count": len(rows), "flags": build_table(data_frame)}


@dg.multi_asset_check(
    name="check_flags",
    specs=[
        check_spec(
            CHECK,
            asset=CONTROL_TOWER,
            after=[DEFINITIONS],
            description="No flag has expired, something uses each, and each that is used exists. "
            "An expired or missing flag is off.",
            severity=dg.AssetCheckSeverity.WARN,
            limit="0 such flags",
            remedy="delete the flag, extend expires_at, or create it; its owner is named",
        )
    ],
)
def check_flags(
    clock: dg.ResourceParam[Clock],
    registry: dg.ResourceParam[Registry],
    settings: dg.ResourceParam[Settings],
    warehouse: dg.ResourceParam[Warehouse],
) -> dg.AssetCheckResult:
    """Compare the flags with their uses and with the time."""
    return judge_flags(report_flags(warehouse, registry, settings, clock.now()))


def judge_flags(report: FlagReport) -> dg.AssetCheckResult:
    """Return the result of the check of flags."""
    problems, count = report.problems, len(report.stored)
    metadata = {"outcome": f"{count} flags are current and used"}
    if problems:
        metadata = {
            "outcome": f"{len(problems)} problems of {count} flags",
            "expected": "flags that have not expired, exist, and are used",
            "found": "; ".join(problems)[:4000],
            "what_to_do": "delete the flag, extend expires_at, or create it",
        }
    return build_result(
        CONTROL_TOWER, CHECK, metadata, dg.AssetCheckSeverity.WARN, passed=not problems
    )


EDIT_FLAG = Kind(
    "edit_flag",
    "Creates, changes or deletes a flag; a dry run by default.",
    EditFlag,
    edit_flag,
    requires_admin=True,
)
