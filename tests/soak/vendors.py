"""The vendors of `demo/` in a scenario: late, away for days, refusing, and restating."""

from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from tests.soak.patching import Patch

REFUSED_SHARE = 0.15
REFUSALS = ((429, [(b"retry-after", b"1")]), (500, []), (503, [(b"retry-after", b"1")]))


def patches(folder: Path) -> dict[str, Patch]:
    """Return what is changed in the vendors' modules for the run of the soak in ``folder``."""

    def with_restatements(module: Any) -> None:
        from tests.soak.scenario import read_scenario

        scenario = read_scenario(folder / "scenario.json")
        module.restatement = lambda _market, _anchor, tier, week: scenario.restatement(tier, week)

    def with_late_days(module: Any) -> None:
        from tests.soak.scenario import read_scenario

        scenario, now = read_scenario(folder / "scenario.json"), module.Clock.now
        module.Clock.now = lambda clock: scenario.vendor_time(now(clock))

    def with_faults(module: Any) -> None:
        module.QueryApi.__call__ = _with_faults(module.QueryApi.__call__, folder)

    return {
        "orchestration_demo.catalogue": with_restatements,
        "orchestration_demo.clock": with_late_days,
        "orchestration_demo.server": with_faults,
    }


def _with_faults(serve: Any, folder: Path) -> Any:
    from tests.soak.calendar_file import CalendarFile
    from tests.soak.scenario import NEW_YORK, read_scenario

    scenario, calendar = read_scenario(folder / "scenario.json"), CalendarFile(folder / "calendar")
    random = Random(scenario.seed)  # noqa: S311 - a simulation

    async def serve_or_refuse(api: Any, scope: Any, receive: Any, send: Any) -> None:
        now: datetime = calendar.now()
        is_refusing = now.astimezone(NEW_YORK).date() in scenario.refusing
        if scenario.is_away(now):
            await _refuse(send, 503, [])
        elif is_refusing and random.random() < REFUSED_SHARE:
            await _refuse(send, *random.choice(REFUSALS))
        else:
            await serve(api, scope, receive, send)

    return serve_or_refuse


async def _refuse(send: Any, status: int, headers: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"not now"})
