"""The parts of the soak that decide, and one day of it."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests.soak.calendar_file import CalendarFile
from tests.soak.injected import write_hook
from tests.soak.scenario import due_times, plan, read_scenario, steps_of
from tests.soak.truth import Truth

MARCH = date(2026, 3, 8)  # clocks change in America
LOOK = "import datetime, time; print(datetime.datetime.now(datetime.UTC).year, int(time.time()))"


def test_a_seed_has_one_scenario_and_longer_ones_extend_it(tmp_path):
    scenario = plan(7, 14)
    scenario.write(tmp_path / "scenario.json")
    assert read_scenario(tmp_path / "scenario.json") == scenario == plan(7, 14)
    shorter = plan(7, 7)
    assert [kill for kill in scenario.kills if kill.day < 7] == shorter.kills
    assert [day for day in scenario.late if day < scenario.day(7)] == shorter.late


def test_each_program_is_killed_each_week():
    for seed in range(20):
        kills = plan(seed, 14).kills
        for week in range(2):
            programs = {kill.program for kill in kills if kill.day // 7 == week}
            assert programs == {"daemon", "code server", "gateway", "run worker", "vendor"}


def test_due_times_follow_the_clocks_of_their_zones():
    before, after = map(due_times, (MARCH - timedelta(1), MARCH))
    hours = [
        [due.at.astimezone(UTC).hour for due in dues if due.schedule == "finra_daily"]
        for dues in (before, after)
    ]
    assert hours == [[18], [17]]
    assert [due.schedule for due in due_times(MARCH + timedelta(1))].count(
        "finra_otc_weekly_mondays"
    ) == 1


def test_steps_of_days_are_in_order_and_end_before_the_next_day_begins():
    scenario = plan(3, 14)
    steps = [step for number in range(14) for step in steps_of(scenario.day(number))]
    assert steps == sorted(set(steps))


@pytest.mark.slow
def test_restatements_change_the_truth_of_weeks_and_days_away_do_not():
    scenario = plan(1, 14)
    truth, changed = Truth(scenario), set()
    for number in range(14):
        moment = steps_of(scenario.day(number))[-1]
        before = dict(truth.weeks)
        truth.advance(moment)
        differing = {place for place, rows in truth.weeks.items() if before.get(place) != rows}
        assert not (differing and scenario.is_away(moment))
        changed |= differing if number else set()
    assert {tier for tier, _ in changed} == {"T1", "T2", "OTCE"}


def test_programs_and_their_children_follow_the_calendar(tmp_path):
    calendar = CalendarFile(tmp_path / "calendar")
    plan(1, 1).write(tmp_path / "scenario.json")
    environment = {"PYTHONPATH": str(write_hook(tmp_path))}
    for year in (2020, 2031):
        moment = datetime(year, 2, 28, 23, tzinfo=UTC)
        calendar.step_to(moment)
        line = [
            sys.executable,
            "-c",
            f"import subprocess, sys; subprocess.run([sys.executable, '-c', {LOOK!r}])",
        ]
        ended = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)  # noqa: S603
        found, seconds = map(int, ended.stdout.split())
        assert found == year
        assert 0 <= seconds - moment.timestamp() < 120


@pytest.mark.slow
def test_a_day_of_the_real_programs_has_no_findings():
    line = [sys.executable, "-m", "tests.soak", "--days=1", "--seed=1"]
    ended = subprocess.run(  # noqa: S603 - our own program
        line, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False, timeout=1800
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "nothing is wrong" in ended.stdout
