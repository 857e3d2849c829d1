"""Judges what the programs have stored, by SQL of its own, the truth and the oracle."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.oracle.history import compare_states, fold
from tests.oracle.inputs import Row, index_rows, key_of, place_of
from tests.oracle.readers import WEEKLY
from tests.soak.evidence import plain, read_deliveries
from tests.soak.scenario import Due, Scenario
from tests.soak.stack import Stack
from tests.soak.truth import Truth, without_bookkeeping

SHOWN = 5
QUESTIONS_A_DAY = 6
MICROS = 10**6

TICKS = "SELECT timestamp, status, tick_body FROM job_ticks WHERE type = 'SCHEDULE'"
SCHEDULED = """
SELECT schedule.value AS schedule, due.value AS due, runs.run_id, runs.status FROM runs
JOIN run_tags schedule ON schedule.run_id = runs.run_id AND schedule.key = 'dagster/schedule_name'
JOIN run_tags due ON due.run_id = runs.run_id AND due.key = '.dagster/scheduled_execution_time'
WHERE NOT EXISTS (SELECT 1 FROM run_tags parent
  WHERE parent.run_id = runs.run_id AND parent.key = 'dagster/parent_run_id')
"""
UNEVEN = """
SELECT landings.group_id, landings.partition_key FROM landings
WHERE table_name IN ('finra_otc_weekly', 'fx_rates_daily')
GROUP BY landings.group_id, landings.partition_key HAVING count(*) > 1
"""

CHANGES = ("added", "changed", "removed", "unchanged")
COUNTS = f"SELECT * FROM landings WHERE table_name = '{WEEKLY}'"  # noqa: S608 - a constant

OPEN_ALERTS = "SELECT open_problems FROM operations_alerts WHERE state = 'open'"
QUARANTINED = ("held_back", "finra/otc_weekly")


class Finding(NamedTuple):
    """What is wrong: the check, one sentence, and the smallest state to look at."""

    check: str
    text: str
    state: Any


class Judge:
    """Judges the days of one run of the soak."""

    def __init__(self, stack: Stack, scenario: Scenario) -> None:
        self._stack, self._scenario = stack, scenario
        self._truth = Truth(scenario)
        self._questions: list[tuple[str, str, str]] = []
        self._random = Random(f"questions {scenario.seed}")  # noqa: S311 - a simulation
        self.compared = 0

    def begin(self, moment: datetime) -> None:
        """Take what the programs load before the first step as published."""
        self._truth.advance(moment)

    def judge_step(
        self, due: Sequence[Due], moment: datetime, *, is_cut: bool = False
    ) -> list[Finding]:
        """Return what is wrong after a step, while nothing is queued or running.

        ``is_cut``: the vendors were killed in this step, so that a load may wait for its retry.
        """
        self._truth.advance(moment)
        alerts, held = self._alerts(), self._held()
        return [
            *self._weeks(),
            *self._rates(moment, is_cut=is_cut),
            *self._due(due),
            *alerts,
            *held,
        ]

    def end_day(self, day: date, moment: datetime) -> None:
        """Ask about the past, and record what has grown."""
        self._ask(moment)
        self._measure(day)

    def judge_end(self) -> list[Finding]:
        """Return which answers of the past changed, and what the oracle recomputes otherwise."""
        findings = self._recomputed()
        for path, requested_at, digest in self._questions:
            self.compared += 1
            if _digest(self._stack.get(path)) != digest:
                findings.append(
                    Finding("past answers", f"asked at {requested_at}, it changed", path)
                )
        return findings

    def _weeks(self) -> list[Finding]:
        stored: dict[tuple[str, str], dict[tuple, Row]] = {}
        key = key_of(WEEKLY)
        for found in self._stack.rows(f"SELECT * FROM {WEEKLY}"):  # noqa: S608 - a constant
            row = without_bookkeeping(plain(found))
            stored.setdefault((row["tier"], row["week_start"]), {})[place_of(row, key)] = row
        findings = []
        for place in sorted(self._truth.weeks.keys() | stored.keys()):
            true, found = self._truth.weeks.get(place, {}), stored.get(place, {})
            self.compared += len(true)
            differing = [
                (kind, where, values)
                for where, kind, values in compare_states(true, found)
                if kind != "unchanged"
            ]
            if differing:
                text = (
                    f"{place} has {len(found)} rows, the truth {len(true)}: {len(differing)} differ"
                )
                findings.append(Finding("rows", text, differing[:SHOWN]))
        return findings

    def _recomputed(self) -> list[Finding]:
        """Fold the captured bytes into rows and history, and compare both with what is stored."""
        folded, findings = fold(read_deliveries(self._stack), WEEKLY), []
        key = (*key_of(WEEKLY), "known_from")
        tables = ((WEEKLY, folded.rows), (f"{WEEKLY}_history", folded.history))
        for table, expected in tables:
            stored = [plain(row) for row in self._stack.rows(f"SELECT * FROM {table}")]  # noqa: S608
            self.compared += len(expected)
            states = compare_states(index_rows(expected, key), index_rows(stored, key))
            differing = [state for state in states if state[1] != "unchanged"]
            if differing:
                text = (
                    f"{len(differing)} of {len(expected)} rows of {table} differ from its captures"
                )
                findings.append(Finding("recomputed", text, differing[:SHOWN]))
        return findings + self._counted(folded.counts)

    def _counted(self, recomputed: Mapping[str, Counter[str]]) -> list[Finding]:
        """Compare what each load says that it changed with what its captures changed."""
        stored = {
            row["group_id"]: {kind: row[f"rows_{kind}"] for kind in CHANGES}
            for row in self._stack.rows(COUNTS)
        }
        self.compared += len(stored)
        expected = {
            group: {kind: counts[kind] for kind in CHANGES} for group, counts in recomputed.items()
        }
        differing = [
            (group, expected.get(group), stored.get(group))
            for group in sorted(expected.keys() | stored.keys())
            if expected.get(group) != stored.get(group)
        ]
        if not differing:
            return []
        text = f"{len(differing)} of {len(stored)} loads have other counts than their captures"
        return [Finding("counts", text, differing[:SHOWN])]

    def _rates(self, moment: datetime, *, is_cut: bool) -> list[Finding]:
        if self._scenario.is_away(moment):
            return []
        stored = self._stack.rows("SELECT rate_date, currency_code, rate FROM fx_rates_daily")
        rates = {(str(row["rate_date"]), row["currency_code"]): row["rate"] for row in stored}
        first = str(self._scenario.first_rates)
        true = {
            place: rate for place, rate in self._truth.rates(moment).items() if place[0] >= first
        }
        self.compared += len(true)
        wrong = [
            (place, true.get(place), rates.get(place))
            for place in sorted(true.keys() | rates.keys())
            if rates.get(place) not in (*true.get(place, ()), *([None] if is_cut else []))
        ]
        return [Finding("rates", f"{len(wrong)} rates differ", wrong[:SHOWN])] if wrong else []

    def _due(self, dues: Sequence[Due]) -> list[Finding]:
        """Each due time has one tick that ended, and where it is to start a run, one run."""
        ticks: Counter[tuple[str, float]] = Counter()
        for tick in self._stack.dagster(TICKS):
            body = json.loads(tick["tick_body"])
            ticks[body["job_name"], body["timestamp"]] += 1
        runs: dict[tuple[str, float], list[str]] = {}
        for run in self._stack.dagster(SCHEDULED):
            at = datetime.fromisoformat(run["due"]).timestamp()
            runs.setdefault((run["schedule"], at), []).append(f"{run['run_id']} {run['status']}")
        findings = []
        for due in dues:
            place = (due.schedule, due.at.astimezone(UTC).timestamp())
            if ticks[place] != 1:
                text = f"{due.schedule} due at {due.at} has {ticks[place]} ticks"
                findings.append(Finding("due times", text, place))
            if due.starts_run and len(runs.get(place, [])) != 1:
                text = f"{due.schedule} due at {due.at} started {len(runs.get(place, []))} runs"
                findings.append(Finding("due times", text, runs.get(place)))
        return findings

    def _alerts(self) -> list[Finding]:
        """Each week that is quarantined has one open alert, and no other week has one."""
        alerted: Counter[tuple[str, str]] = Counter()
        for alert in self._stack.rows(OPEN_ALERTS):
            for kind, asset, partition in json.loads(alert["open_problems"]):
                if (kind, asset) == QUARANTINED:
                    tier, week = partition.split("|")
                    alerted[tier, week] += 1
        expected = Counter(self._truth.quarantined)
        self.compared += len(expected)
        missing, needless = sorted(expected - alerted), sorted(alerted - expected)
        if not missing and not needless:
            return []
        text = (
            f"{len(missing)} quarantined weeks have no alert, {len(needless)} alerts no such week"
        )
        return [Finding("alerts", text, (missing, needless))]

    def _held(self) -> list[Finding]:
        leased = self._stack.rows("SELECT * FROM work_items WHERE state = 'leased'")
        twice = self._stack.rows(UNEVEN)
        held = (
            ("leases of work items", leased),
            ("loads twice", twice),
        )
        return [Finding("held", f"{len(rows)} {name}", rows[:SHOWN]) for name, rows in held if rows]

    def _ask(self, moment: datetime) -> None:
        """Ask about the past, and keep the digests of the answers."""
        begin = self._scenario.first_day
        first = datetime(begin.year, begin.month, begin.day, tzinfo=UTC)
        places = sorted(self._truth.weeks)
        for number in range(QUESTIONS_A_DAY):
            last = moment - timedelta(seconds=1)
            at = last if number < 2 else first + self._random.random() * (last - first)
            table = "fx_rates_daily" if number % 3 == 2 else WEEKLY
            requested = {"format": "csv", "as_of": at.isoformat()}
            if table == WEEKLY and places:
                _, week = self._random.choice(places)
                requested["where"] = f"week_start={week}"
                if number % 2:
                    requested["published_by"] = at.date().isoformat()
            path = f"/api/v1/tables/{table}?{urlencode(requested)}"
            self._questions.append((path, moment.isoformat(), _digest(self._stack.get(path))))

    def _measure(self, day: date) -> None:
        """Record the bytes of the files and the rows of the tables that grow."""
        tables = (WEEKLY, f"{WEEKLY}_history", "captures", "landings", "operations_runs", "leases")
        sizes: dict[str, Any] = {
            table: self._stack.rows(f"SELECT count(*) AS number FROM {table}")[0]["number"]  # noqa: S608
            for table in tables
        }
        for table in ("runs", "job_ticks", "kvs"):
            [counted] = self._stack.dagster(f"SELECT count(*) AS number FROM {table}")  # noqa: S608
            sizes[table] = counted["number"]
        files = [file for file in self._stack.state.rglob("*") if file.is_file()]
        sizes["bytes"] = sum(file.stat().st_size for file in files)
        sizes["files"] = len(files)
        with (self._stack.folder / "sizes.jsonl").open("a") as file:
            file.write(json.dumps({"day": str(day), **sizes}) + "\n")


def _digest(answer: bytes) -> str:
    return hashlib.sha256(answer).hexdigest()
