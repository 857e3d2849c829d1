"""Steps the calendar through the days of a scenario, kills programs, and has each day judged."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests import programs
from tests.soak.calendar_file import CalendarFile
from tests.soak.injected import write_hook
from tests.soak.judge import Finding, Judge
from tests.soak.scenario import DAY, Due, Kill, Scenario, due_times, steps_of
from tests.soak.stack import ALERTING, RUN_WORKER, SENSORS, Stack

STUCK_SECONDS = 900
"""Real time after which a step that does not end is a finding."""

NUDGE = timedelta(seconds=65)
"""More than the intervals of the sensors that derive what was loaded, and alert."""

MAX_INTERVAL = timedelta(minutes=61)
"""More than the interval of any sensor that is on."""

KILLED_TICK_SECONDS = 90
"""Real time in which the tick of a program that runs ends."""

ACTIVE = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING")
UNDER_WAY = f"SELECT run_id, status, pipeline_name FROM runs WHERE status IN {ACTIVE}"  # noqa: S608
BACKFILLS = """SELECT key FROM bulk_actions
WHERE status IN ('REQUESTED', 'CANCELING', 'FAILING')"""
COUNT = "SELECT count(*) AS number FROM runs"
TICKS = "SELECT status, type, timestamp, tick_body FROM job_ticks ORDER BY id DESC LIMIT 200"

Report = Callable[[str], None]


class StuckError(Exception):
    """A step does not end; the argument names what is under way."""


class Driver:
    """One run of the soak in a folder."""

    def __init__(
        self, folder: Path, scenario: Scenario, urls: dict[str, str], canary: str, report: Report
    ):
        self.scenario, self._report = scenario, report
        scenario.write(folder / "scenario.json")
        self.calendar = CalendarFile(folder / "calendar")
        self.stack = Stack(folder, write_hook(folder, canary), urls | scenario.settings)
        self.judge = Judge(self.stack, scenario)
        self.events: list[str] = []
        self._log = folder / "events.jsonl"
        anchor = folder / "state" / "demo" / "state.json"
        anchor.parent.mkdir(parents=True)
        anchor.write_text(json.dumps({"anchor": scenario.first_day.isoformat(), "served": []}))

    def run(self, until: int) -> Iterator[list[Finding]]:
        """Yield the findings of each day, and of the end."""
        self.calendar.step_to(steps_of(self.scenario.day(-1))[-1])
        self.stack.start()
        self.stack.switch_on()
        self._wait(self._under_way, "runs")
        self.judge.begin(self.calendar.now())
        for number in range(until):
            yield self._run_day(number)
        yield self.judge.judge_end()

    def _run_day(self, number: int) -> list[Finding]:
        day = self.scenario.day(number)
        for place, moment in enumerate(steps_of(day)):
            kills = [
                kill for kill in self.scenario.kills if (kill.day, kill.step) == (number, place)
            ]
            try:
                self._step(moment, kills)
            except StuckError as error:
                text = f"{self.calendar.now():%Y-%m-%d %H:%M} does not end"
                return [Finding("step", text, str(error))]
            is_cut = any(kill.program == "vendor" for kill in kills)
            due, now = self._due_at(moment), self.calendar.now()
            if findings := self.judge.judge_step(due, now, is_cut=is_cut):
                return findings
            self._note("judged", f"{self.judge.compared:,} rows and answers so far")
        self.judge.end_day(day, self.calendar.now())
        self._note("day", f"{day} has no findings")
        return []

    def _step(self, moment: datetime, kills: list[Kill]) -> None:
        """Step to a time, and wait until nothing is queued or running and no sensor is due."""
        # A second later, as the daemon compares whole seconds.
        self.calendar.step_to(max(moment + timedelta(seconds=1), self.calendar.now()))
        self._note("step", f"{moment:%Y-%m-%d %H:%M} UTC")
        stepped_at = time.monotonic()
        for kill in kills:
            at = stepped_at + kill.seconds
            programs.wait_for(lambda at=at: time.monotonic() > at, poll_seconds=0.05)
            self._kill(kill)
        due = [due.schedule for due in self._due_at(moment)]
        self._wait_for_ticks(moment, due, SENSORS)
        self._wait(self._under_way, "runs")
        while self._starts_more():
            self._wait(self._under_way, "runs")

    def _starts_more(self) -> bool:
        """Return whether what was loaded starts a run that derives; alerts are raised, too."""
        before, nudged = self.stack.dagster(COUNT), self.calendar.now() + NUDGE
        self.calendar.step_to(nudged)
        self._wait_for_ticks(nudged, [], ("finra_on_landing", ALERTING))
        return self.stack.dagster(COUNT) != before or bool(self._under_way())

    def _wait_for_ticks(self, since: datetime, due: list[str], sensors: tuple[str, ...]) -> None:
        """Wait until they have ended; a sensor whose tick was killed is due after its interval."""
        nudged_at = time.monotonic()

        def missing() -> list[str]:
            nonlocal nudged_at
            names = self._missing_ticks(since, due, sensors)
            if time.monotonic() - nudged_at > KILLED_TICK_SECONDS and not self._under_way():
                nudged_at = time.monotonic()
                self.calendar.step_to(self.calendar.now() + MAX_INTERVAL)
            return names

        self._wait(missing, "ticks")

    def _due_at(self, moment: datetime) -> list[Due]:
        days = [moment.date() + number * DAY for number in (-1, 0)]
        dues = [due for day in days for due in due_times(day)]
        return [due for due in dues if due.at.astimezone(UTC) == moment]

    def _missing_ticks(
        self, since: datetime, due: list[str], sensors: tuple[str, ...]
    ) -> list[str]:
        """Return the schedules and sensors without a tick since a time that has ended."""
        ended = set()
        ended_states = ["SUCCESS", "SKIPPED"]
        if self.scenario.is_away(self.calendar.now()):
            ended_states.append("FAILURE")
        for tick in self.stack.dagster(TICKS):
            at = tick["timestamp"]
            at = at if isinstance(at, datetime) else datetime.fromisoformat(str(at))
            if at.replace(tzinfo=UTC) >= since and tick["status"] in ended_states:
                ended.add(json.loads(tick["tick_body"])["job_name"])
        return [name for name in (*due, *sensors) if name not in ended]

    def _under_way(self) -> list[Any]:
        return [*self.stack.dagster(UNDER_WAY), *self.stack.dagster(BACKFILLS)]

    def _wait(self, missing: Callable[[], list[Any]], what: str) -> None:
        """Wait until nothing is missing."""
        try:
            programs.wait_for(lambda: not missing(), STUCK_SECONDS, poll_seconds=0.5)
        except AssertionError:
            raise StuckError(f"{what}: {missing()}") from None

    def _kill(self, kill: Kill) -> None:
        number, seconds = None, 30 if kill.program == RUN_WORKER else 5
        with suppress(AssertionError):
            number = programs.wait_for(lambda: self.stack.kill(kill.program), seconds)
        done = f"killed, process {number}" if number else "none ran, so none was killed"
        self._note("kill", f"{kill.program}: {done}")

    def _note(self, kind: str, text: str) -> None:
        self.events.append(f"{kind}: {text}")
        self._report(self.events[-1])
        with self._log.open("a") as log:
            at = self.calendar.now().isoformat(timespec="seconds")
            log.write(json.dumps({"at": at, "kind": kind, "text": text}) + "\n")
