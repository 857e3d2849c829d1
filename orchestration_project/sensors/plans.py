"""Decisions of ticks of the platform: own tables, exports, deliveries, schedules, hourly checks.

The module imports no Dagster; those of domains are in `domains/`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pydantic import BaseModel, Field, ValidationError

from orchestration_project.engine.contracts.ticks import (
    ONCE_A_DAY,
    REQUESTED,
    PlannedRun,
    TickPlan,
    hash_keys,
)
from orchestration_project.engine.contracts.webhooks.queue import DispatchPlan

MAX_REASON_LENGTH = 2000
"""Characters of the reason of a tick that disabled schedules."""

# -- tables that a project derives -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class OutdatedTable:
    """A table that a project derives, and what of it is out of date.

    Attributes:
        name: Its name.
        state: Rule, loads and day that it was compared with, which is the cursor after that.
        today: Day of the tick.
        due: Versions of the partitions that are out of date, by key.
    """

    name: str
    state: str
    today: date
    due: Mapping[str, str]

    def build_run(self) -> PlannedRun:
        """Return the run over all of them."""
        digest = hash_keys(sorted(self.due.values()))
        return PlannedRun(run_key=f"{self.name} {digest} ({self.today})")


def plan_own_derivation(
    table: OutdatedTable, cursor: str | None, running: str, known_keys: Collection[str]
) -> TickPlan:
    """Return the run that derives a table; the cursor moves unless a run is under way.

    Args:
        table: The table.
        cursor: State that it was last compared with; of the present one nothing is read.
        running: A sentence about a run of its job that is under way; empty: none is.
        known_keys: Run keys that a run has.
    """
    if cursor == table.state:
        reason = f"Nothing to do: no load since {table.name} was compared with its inputs."
        return TickPlan(skip_reason=reason)
    if not table.due:
        reason = f"Nothing to do: {table.name} is current."
        return TickPlan(skip_reason=reason, cursor=table.state)
    if running:
        return TickPlan(skip_reason=running)
    run = table.build_run()
    if run.run_key in known_keys:
        return TickPlan(
            skip_reason=f"Not derived, and requested today; {ONCE_A_DAY}",
            cursor=table.state,
            places={"asked_today": table.due.keys()},
        )
    return TickPlan(
        requests=[run],
        cursor=table.state,
        places={REQUESTED: table.due.keys()},
        message=f"Requested {len(table.due)} partitions.",
    )


# -- exports ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DueExports:
    """Exports that are due.

    Attributes:
        declared_count: How many are declared.
        scheduled: When each was due whose schedule came since the last tick, by name.
        retried: Names of those whose next attempt is due.
    """

    declared_count: int
    scheduled: Mapping[str, datetime]
    retried: Iterable[str] = ()


def list_exports(exports: DueExports) -> list[tuple[str | None, list[str]]]:
    """Return the runs of due exports: the run key of each, and the exports that it makes."""
    scheduled: list[tuple[str | None, list[str]]] = [
        (f"{name} at {at.isoformat()}", [name]) for name, at in exports.scheduled.items()
    ]
    retried = [name for name in exports.retried if name not in exports.scheduled]
    return [*scheduled, (None, retried)] if retried else scheduled


def plan_exports(exports: DueExports, runs: Sequence[PlannedRun], now: datetime) -> TickPlan:
    """Return the runs of due exports; the cursor is the time up to which schedules are done."""
    if not exports.declared_count:
        return TickPlan(skip_reason="No export is declared.")
    reason = "" if runs else f"None of {exports.declared_count} exports is due."
    return TickPlan(requests=runs, skip_reason=reason, cursor=now.isoformat())


# -- deliveries of webhooks ------------------------------------------------------------------------


def plan_deliveries(runs: Sequence[PlannedRun], dispatch: DispatchPlan) -> TickPlan:
    """Return the runs of due deliveries, or what became of earlier ones."""
    if runs:
        return TickPlan(requests=runs)
    waiting = ""
    if dispatch.waits:
        until = f"{min(dispatch.waits):%H:%M:%S}"
        waiting = f"; {len(dispatch.waits)} wait after a failed run, the first until {until} UTC"
    return TickPlan(
        skip_reason=f"No delivery is due; {dispatch.under_way_count} are under way{waiting}; "
        f"{dispatch.ended_run_count} runs ended, {dispatch.dead_count} deliveries of them are dead "
        "letters."
    )


# -- schedules that are data -----------------------------------------------------------------------


def plan_scheduled(
    runs: Sequence[PlannedRun], skipped_count: int, disabled: Mapping[str, str], problem: str
) -> TickPlan:
    """Return the runs of due schedules, or why none starts.

    Args:
        runs: Runs of due schedules.
        skipped_count: Due times that start no run.
        disabled: Reasons by the names of schedules that were disabled.
        problem: A sentence about alerts that cannot be stored; empty: they can.
    """
    if runs:
        return TickPlan(requests=runs)
    reasons = "".join(f" Disabled {name}: {reason}." for name, reason in disabled.items())
    text = f"No schedule is due; {skipped_count} due times were skipped.{reasons}"
    return TickPlan(skip_reason=text[:MAX_REASON_LENGTH] + problem)


# -- states of the platform ------------------------------------------------------------------------


class Followed(BaseModel):
    """Cursor of a tick that records runs and shows states.

    Attributes:
        seen: Change of the last run that is recorded; None: none is.
        shown: Digests of the states that are shown, by name.
        checked_since: Key of the last run of the hourly checks, which names a load of the code.
    """

    seen: datetime | None = None
    shown: dict[str, str] = Field(default_factory=dict)
    checked_since: str = ""


def read_followed(cursor: str | None) -> Followed:
    """Read the cursor of a tick; one of a former release shows all states once again."""
    try:
        return Followed.model_validate_json(cursor or "{}")
    except ValidationError:
        return Followed()


def plan_state_checks(
    run: PlannedRun, after: Followed, *, has_all_runs: bool, shown: Sequence[str], recorded: str
) -> TickPlan:
    """Return the run of the hourly checks once after each load of the code, or what a tick did.

    Args:
        run: The run; its key names the load of the code.
        after: What the next tick reads, if no run is requested.
        has_all_runs: Whether the ledger has the runs that the checks count.
        shown: Names of the states that the tick showed on their assets.
        recorded: A sentence about runs that the tick recorded.
    """
    if has_all_runs and after.checked_since != run.run_key:
        checked = after.model_copy(update={"checked_since": run.run_key})
        return TickPlan(requests=[run], cursor=checked.model_dump_json())
    names = ", ".join(shown) or "nothing changed"
    reason = f"{recorded} Shown: {names}."
    return TickPlan(skip_reason=reason, cursor=after.model_dump_json())
