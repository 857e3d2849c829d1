"""Faults that are planted in the programs on purpose: the judge must find each."""

from typing import Any

from tests.soak.patching import Patch

LOST = "DELETE FROM finra_otc_weekly WHERE tier = 'T2' AND market = 'NON_ATS'"


def _lose_rows(landing: Any) -> None:
    """Have a load commit without some of the rows that it reports."""
    from sqlalchemy import text

    land_all = landing.land_all

    def lossy(connection: Any, *arguments: Any) -> Any:
        outcomes = land_all(connection, *arguments)
        connection.execute(text(LOST))
        return outcomes

    landing.land_all = lossy


def _start_twice(scheduler: Any) -> None:
    """Have the daemon submit the run of a due time twice."""
    submit = scheduler._submit_run_request
    scheduler._get_existing_run_for_request = lambda *_: None

    def submit_twice(*arguments: Any, **named: Any) -> Any:
        submit(*arguments, **named)
        return submit(*arguments, **named)

    scheduler._submit_run_request = submit_twice


def _forget_history(landing: Any) -> None:
    """Have a restatement replace rows without keeping them."""
    landing._keep_history = lambda *_: None


def _keep_claims(run_claims: Any) -> None:
    """Have runs that ended keep their claims."""
    run_claims.RunClaims.release = lambda *_: None


CANARIES: dict[str, dict[str, Patch]] = {
    "lost-rows": {"orchestration_project.engine.warehouse.landing": _lose_rows},
    "double-start": {"dagster._scheduler.scheduler": _start_twice},
    "changed-past": {"orchestration_project.engine.warehouse.landing": _forget_history},
    "kept-claim": {"orchestration_project.instance.run_claims": _keep_claims},
}


def patches(canary: str) -> dict[str, Patch]:
    """Return what a canary changes, by the module that it changes."""
    return CANARIES[canary] if canary else {}
