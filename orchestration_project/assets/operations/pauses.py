"""Pauses as a kind of work of the job that edits definitions."""

import dagster as dg
from pydantic import Field

from orchestration_project.assets.operations.kinds import Kind
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.pauses import MAX_REASON_CHARACTERS, read_end
from orchestration_project.engine.options import JobOptions, report_dry_run
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.registry import Registry
from orchestration_project.services.ledger.rules.entries import find_editor
from orchestration_project.services.pauses import Pauses


class EditPause(JobOptions):
    """Pause that is made or ended."""

    subject: str = Field(
        examples=["finra"],
        description="`all`, a domain, an asset such as finra/otc_weekly, or source:<name>.",
    )
    resume: bool = Field(default=False, description="End the pause of the subject; false: pause.")
    reason: str = Field(
        default="",
        max_length=MAX_REASON_CHARACTERS,
        examples=["the database moves"],
        description="Reason of a pause, in words; required to pause.",
    )
    until: str | None = Field(
        default=None,
        examples=["2026-12-01T06:00Z"],
        description="End of the pause with its zone; null: until it is resumed.",
    )
    who: str | None = Field(
        default=None,
        examples=["ada"],
        description="Name of the user; the run's tag user takes precedence.",
    )
    dry_run: bool = Field(
        default=True, description="Dry run: only check the pause; false makes or ends it."
    )


def edit_pause(
    context: dg.OpExecutionContext,
    config: EditPause,
    registry: dg.ResourceParam[Registry],
    warehouse: dg.ResourceParam[Warehouse],
) -> None:
    """Pause a subject or end its pause, and show the pause.

    Raises:
        ConfigurationError: The subject is unknown or not paused, the reason is missing, the end has
            passed, or it lacks a zone.
    """
    reported = report_dry_run(context.log, "nothing is paused", is_dry_run=config.dry_run)
    by = find_editor(context.run.tags, config.who) or "unknown"
    pauses = Pauses(warehouse, Clock())
    if config.resume:
        pause = pauses.resume(config.subject, by=by, is_dry_run=config.dry_run)
    else:
        end = None if config.until is None else read_end(config.until)
        pause = pauses.pause(
            *(registry, config.subject, config.reason), by=by, until=end, is_dry_run=config.dry_run
        )
    context.add_output_metadata(
        {**reported, "resumed" if config.resume else "paused": pause.subject, "pause": pause.text}
    )


EDIT_PAUSE = Kind(
    "edit_pause",
    "Pauses a domain, asset or source, or ends its pause; a dry run by default.",
    EditPause,
    edit_pause,
)
