"""Faults that are planted in the programs on purpose: the judge must find each.

A day shows each but `changed-past`, which needs two of seed 7: a week is restated on the second.
"""

from typing import Any

from tests.soak.patching import Patch

MISCOUNTED = "UPDATE landings SET rows_unchanged = rows_unchanged + 1 WHERE rows_added > 0"
LOST = "DELETE FROM finra_otc_weekly WHERE tier = 'T2' AND market = 'NON_ATS'"


def _load_and(statement: str) -> Patch:
    """Return a patch by which each load also does a statement before it commits."""

    def change(loading: Any) -> None:
        from sqlalchemy import text

        load_batches = loading.load_batches

        def load_otherwise(connection: Any, *arguments: Any) -> Any:
            outcomes = load_batches(connection, *arguments)
            connection.execute(text(statement))
            return outcomes

        loading.load_batches = load_otherwise

    return change


def _start_twice(scheduler: Any) -> None:
    """Have the daemon submit the run of a due time twice."""
    submit = scheduler._submit_run_request
    scheduler._get_existing_run_for_request = lambda *_: None

    def submit_twice(*arguments: Any, **named: Any) -> Any:
        submit(*arguments, **named)
        return submit(*arguments, **named)

    scheduler._submit_run_request = submit_twice


def _forget_history(loading: Any) -> None:
    """Have a restatement replace rows without keeping them."""
    loading._keep_history = lambda *_: None


def _mute_alerts(inbox: Any) -> None:
    """Have no alert stored."""
    inbox.Inbox._store_messages = lambda *_: []


def _alert_falsely(inbox: Any) -> None:
    """Have each alert also name a week that is loaded."""
    take = inbox.Inbox.take

    def take_more(self: Any, cause: str, bad: Any, *others: Any) -> Any:
        false = inbox.Problem("held_back", "finra/otc_weekly", "T1|2027-12-20")
        return take(self, cause, bad | {false} if bad else bad, *others)

    inbox.Inbox.take = take_more


CANARIES: dict[str, dict[str, Patch]] = {
    "lost-rows": {"orchestration_project.engine.warehouse.loading": _load_and(LOST)},
    "double-start": {"dagster._scheduler.scheduler": _start_twice},
    "unbalanced-load": {"orchestration_project.engine.warehouse.loading": _load_and(MISCOUNTED)},
    "changed-past": {"orchestration_project.engine.warehouse.loading": _forget_history},
    "muted-alert": {"orchestration_project.services.alerts.inbox": _mute_alerts},
    "false-alert": {"orchestration_project.services.alerts.inbox": _alert_falsely},
}


def patches(canary: str) -> dict[str, Patch]:
    """Return what a canary changes, by the module that it changes."""
    return CANARIES[canary] if canary else {}
