"""Edits of schedules and flags by a job: their options, and what they change as metadata."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.assets.operations.catalogue import DEFINITIONS
from orchestration_project.assets.operations.kinds import AssetEvent
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.edits import Action
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.edits import Edit, EditResult, EditStore, StoredT
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.metadata import build_table, log_metadata

DIFFERENCE_COLUMNS: dict[str, Any] = dict.fromkeys(("field", "before", "after"), pl.String)


class EditOptions(JobOptions):
    """Options of every edit."""

    expected_version: int | None = Field(
        default=None,
        ge=1,
        examples=[1],
        description="Version that the edit starts from; without it, something new.",
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only show the changes; false makes the edit."
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )
    action: Enum
    name: str
    fields: dict[str, Any]


def make_edit(
    context: dg.OpExecutionContext,
    config: EditOptions,
    clock: Clock,
    warehouse: Warehouse,
    store: EditStore[Any, StoredT],
    *,
    judge: Callable[[EditResult[StoredT]], Mapping[str, Any]],
    show: Callable[[Sequence[StoredT]], Mapping[str, Any]],
) -> Iterator[AssetEvent]:
    """Judge the edit of a run, and make it unless this is a dry run; yield what it changes.

    Args:
        context: The run.
        config: The edit.
        clock: Says when it is.
        warehouse: Has the store.
        store: Where the definition is stored.
        judge: Returns metadata of a planned edit, or raises an error if it cannot be made.
        show: Returns metadata of all definitions after the edit.
    """
    noun = store.kind.noun
    edit = _read_edit(context, config, clock)
    reported = report_dry_run(context.log, f"no {noun} is edited", is_dry_run=config.dry_run)
    planned = store.plan(warehouse, edit)
    judged = judge(planned)
    if config.dry_run:
        values = {**reported, **_render_difference(store, planned), **judged}
        yield dg.AssetObservation(DEFINITIONS, metadata=log_metadata(values))
        return
    edit_result = store.apply(warehouse, edit)
    with warehouse.reading() as connection:
        stored = store.read(connection)
    values = {**reported, **_render_difference(store, edit_result), **judged, **show(stored)}
    yield dg.MaterializeResult(asset_key=DEFINITIONS, metadata=log_metadata(values))


def _read_edit(context: dg.OpExecutionContext, config: EditOptions, clock: Clock) -> Edit:
    return Edit(
        Action(str(config.action.value)),
        config.name,
        by=find_editor(context.run.tags, config.who) or "unknown",
        at=clock.now(),
        fields=config.fields,
        expected_version=config.expected_version,
        run_id=context.run.run_id,
    )


def _render_difference(
    store: EditStore[Any, StoredT], result: EditResult[StoredT]
) -> Mapping[str, Any]:
    before, after = (item and item.definition for item in (result.before, result.after))
    rows = store.kind.difference(before, after)
    return {
        "version": result.version_number,
        "difference": build_table(pl.DataFrame(rows, DIFFERENCE_COLUMNS)),
    }
