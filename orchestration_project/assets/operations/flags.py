"""Flags: edited by a job, shown with what uses them, and checked."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import CONTROL_TOWER, DEFINITIONS
from orchestration_project.assets.operations.edits import EditOptions, edit_of, shown_difference
from orchestration_project.assets.operations.kinds import AssetEvent, Kind
from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.edits import Action
from orchestration_project.contracts.flags import (
    FlagUse,
    StoredFlag,
    flag_problems,
    is_expired,
    require_unused,
    uses_by_flag,
)
from orchestration_project.engine.options import report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.flags import FLAG_STORE, flag_uses
from orchestration_project.services.metadata import (
    as_metadata,
    check_spec,
    described_result,
    table_of,
)
from orchestration_project.settings import Settings

CHECK = "flags_are_current_and_used"
"""Of the control tower, whose job looks each hour: an operator may start that, not an edit."""

MAX_SHOWN = 100
"""Flags that the metadata lists, so that an event stays small; the count is of all."""

ACTIONS = (Action.CREATE, Action.CHANGE, Action.DELETE)
FlagAction = Enum("FlagAction", {each.value: each.value for each in ACTIONS})

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
    action = Action(str(config.action.value))
    edit = edit_of(context, config, clock, action, config.name, config.fields)
    reported = report_dry_run(context.log, "no flag is edited", is_dry_run=config.dry_run)
    with warehouse.reading() as connection:
        uses = flag_uses(connection, registry, settings)
    planned = FLAG_STORE.plan(warehouse, edit)
    if action is Action.DELETE:
        require_unused(edit.name, uses)
    used_by = ", ".join(uses_by_flag(uses).get(edit.name, [])) or "nothing"
    if config.dry_run:
        shown = {**reported, **shown_difference(FLAG_STORE, planned), "used_by": used_by}
        yield dg.AssetObservation(DEFINITIONS, metadata=as_metadata(shown))
        yield from flag_check(clock, registry, settings, warehouse)
        return
    made = FLAG_STORE.apply(warehouse, edit)
    with warehouse.reading() as connection:
        stored = FLAG_STORE.read(connection)
    shown = {**reported, **shown_difference(FLAG_STORE, made), "used_by": used_by}
    listed = shown_flags(table_rows(stored, uses, clock.now()))
    yield dg.MaterializeResult(asset_key=DEFINITIONS, metadata=as_metadata({**shown, **listed}))
    yield from flag_check(clock, registry, settings, warehouse)


def table_rows(
    stored: Sequence[StoredFlag], uses: Sequence[FlagUse], now: datetime
) -> Sequence[Sequence[Any]]:
    """Return a row per flag, with what uses it."""
    used = uses_by_flag(uses)
    return [
        (
            each.definition.name,
            "expired" if is_expired(each.definition, now) else "in effect",
            each.definition.share,
            ", ".join(each.definition.listed_keys[:10]),
            each.definition.owner,
            f"{each.definition.expires_at:%Y-%m-%d %H:%M} UTC"
            if each.definition.expires_at
            else "never",
            ", ".join(used.get(each.definition.name, [])[:10]),
            each.version_number,
            each.edited_by,
        )
        for each in stored
    ]


def shown_flags(rows: Sequence[Sequence[Any]]) -> Mapping[str, Any]:
    """Return the metadata of the flags: their count, and a table."""
    shown = pl.DataFrame(list(rows[:MAX_SHOWN]), SHOWN_COLUMNS, orient="row")
    return {"flag_count": len(rows), "flags": table_of(shown)}


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
) -> Iterator[dg.AssetCheckResult]:
    """Compare the flags with their uses and with the time."""
    yield from flag_check(clock, registry, settings, warehouse)


def flag_check(
    clock: Clock, registry: Registry, settings: Settings, warehouse: Warehouse
) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of the check of flags."""
    with warehouse.reading() as connection:
        stored = [each.definition for each in FLAG_STORE.read(connection)]
        problems = flag_problems(stored, flag_uses(connection, registry, settings), clock.now())
    metadata: Mapping[str, Any] = {"outcome": f"{len(stored)} flags are current and used"}
    if problems:
        metadata = {
            "outcome": f"{len(problems)} problems of {len(stored)} flags",
            "expected": "flags that have not expired, exist, and are used",
            "found": "; ".join(problems)[:4000],
            "what_to_do": "delete the flag, extend expires_at, or create it",
        }
    yield described_result(
        CONTROL_TOWER, CHECK, metadata, dg.AssetCheckSeverity.WARN, passed=not problems
    )


EDIT_FLAG = Kind(
    "edit_flag",
    "Creates, changes or deletes a flag; a dry run by default.",
    EditFlag,
    edit_flag,
    requires_admin=True,
)
