"""Options of the jobs that edit schedules and flags, and the metadata of an edit."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from orchestration_project.connections.clock import Clock
from orchestration_project.contracts.edits import Action
from orchestration_project.engine.options import JobOptions
from orchestration_project.services.edits import Edit, EditResult, EditStore
from orchestration_project.services.ledger.rules.entries import editor_of
from orchestration_project.services.metadata import table_of

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


def edit_of(
    context: dg.OpExecutionContext,
    config: EditOptions,
    clock: Clock,
    action: Action,
    name: str,
    fields: Mapping[str, Any],
) -> Edit:
    """Return the edit that a run makes."""
    return Edit(
        action,
        name,
        by=editor_of(context.run.tags, config.who) or "unknown",
        at=clock.now(),
        fields=fields,
        expected_version=config.expected_version,
        run_id=context.run.run_id,
    )


def shown_difference(store: EditStore[Any, Any], result: EditResult[Any]) -> Mapping[str, Any]:
    """Return the metadata of an edit: its version, and the fields that change."""
    before, after = (each and each.definition for each in (result.before, result.after))
    rows = store.kind.difference(before, after)
    return {
        "version": result.version_number,
        "difference": table_of(pl.DataFrame(rows, DIFFERENCE_COLUMNS)),
    }
