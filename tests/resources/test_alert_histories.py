"""Whatever runs end as, and whichever channels are down meanwhile, people know how things stand."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from orchestration_project.engine.contracts.problems import EndedRun, Unit
from orchestration_project.services.alerts.alerts import Alerts
from orchestration_project.services.alerts.inbox import Inbox
from orchestration_project.services.alerts.policy import Links
from orchestration_project.services.alerts.rules.channels import parse_channels
from orchestration_project.services.alerts.rules.decisions import find_problems, match_resolved
from orchestration_project.services.alerts.rules.messages import run_messages
from orchestration_project.services.alerts.rules.notification import Policy
from orchestration_project.services.alerts.sending import LastResortLog
from orchestration_project.tables.operations_alerts import (
    operations_alert_deliveries,
    operations_alerts,
    operations_evaluations,
)
from tests.properties import bounded
from tests.receivers import http_receiver

WEEKS = [Unit("finra/otc_weekly", f"T1|{number}") for number in range(3)]
TABLES = (operations_alert_deliveries, operations_alerts, operations_evaluations)

OUTCOMES = st.dictionaries(st.sampled_from(WEEKS), st.booleans(), min_size=1)
STEPS = st.one_of(
    st.tuples(st.just("run"), OUTCOMES),
    st.tuples(st.just("wait"), st.sampled_from([1, 30, 60 * 25])),
    st.tuples(st.just("deliver"), st.none()),
    st.tuples(st.just("channel"), st.sampled_from([(0, 200), (0, 500), (1, 200), (1, 500)])),
)


class History:
    """Two channels, and runs that load some weeks and hold others back."""

    def __init__(self, warehouse, clock, hooks, tmp_path: Path) -> None:
        self.warehouse, self.clock, self.hooks = warehouse, clock, hooks
        found, _ = parse_channels([hook.url() for hook in hooks])
        self.policy = Policy(found, timedelta(hours=24))
        self.links = Links("http://127.0.0.1:3000")
        self.alerts = Alerts(
            self.policy,
            lambda: warehouse,
            clock=clock,
            links=self.links,
            conditions=lambda _: (),
            last_resort_log=LastResortLog(tmp_path / "notified.json"),
        )
        self.runs = 0

    @property
    def inbox(self) -> Inbox:
        return Inbox(self.warehouse, self.policy, clock=self.clock)

    def step(self, what: str, given) -> None:
        self.clock.at += timedelta(seconds=1)
        if what == "run":
            self.run(given)
        elif what == "wait":
            self.clock.at += timedelta(minutes=given)
        elif what == "channel":
            place, status = given
            self.hooks[place].status = status
        else:
            self.alerts.deliver(self.inbox)

    def run(self, outcomes: dict[Unit, bool]) -> None:
        """Have a run end, which is looked at twice."""
        self.runs += 1
        loaded = frozenset(unit for unit, is_loaded in outcomes.items() if is_loaded)
        run = EndedRun(
            f"run {self.runs}",
            f"job {self.runs}",
            "success" if len(loaded) == len(outcomes) else "failure",
            wanted=frozenset(outcomes),
            loaded=loaded,
        )
        words = partial(run_messages, run, links=self.links)
        for _ in range(2):
            self.inbox.take(
                f"run {run.run_id} {run.outcome}", find_problems(run), match_resolved(run), words
            )

    def settle(self) -> None:
        """Have all be well, and each channel take what waits for it."""
        for hook in self.hooks:
            hook.status = 200
        self.step("run", dict.fromkeys(WEEKS, True))
        for _ in range(4):
            self.step("deliver", None)
            self.step("wait", 30)

    def check_alerts(self) -> None:
        """No alert stays open or undelivered; each is sent once, and its end after it."""
        assert (self.inbox.standing(), self.inbox.waiting()) == ([], {})
        wanted = select(operations_alerts.c.title).where(operations_alerts.c.state == "recovered")
        with self.warehouse.reading() as connection:
            recovered = set(connection.execute(wanted).scalars())
        for hook in self.hooks:
            failures = [
                message["title"] for message in hook.received if message["type"] == "failure"
            ]
            assert len(failures) == len(set(failures))
            assert recovered <= set(failures)
            for title in recovered:
                later = hook.received[hook.titles.index(title) + 1 :]
                assert any(
                    message["type"] == "success" and title in message["message"]
                    for message in later
                )


@contextmanager
def history(warehouse, clock, tmp_path: Path) -> Iterator[History]:
    """Give a new one, in a database that knows nothing of the one before."""
    with warehouse.writing() as connection:
        for table in TABLES:
            connection.execute(delete(table))
    with http_receiver() as one, http_receiver() as other:
        yield History(warehouse, clock, (one, other), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("warehouse", ["sqlite"], indirect=True)
def test_each_alert_is_sent_once_and_its_recovery_after_it(warehouse, clock, tmp_path):
    @settings(bounded, max_examples=25)
    @given(st.lists(STEPS, min_size=3, max_size=10))
    def each(steps):
        with history(warehouse, clock, tmp_path) as tested:
            for step in steps:
                tested.step(*step)
            tested.settle()
            tested.check_alerts()

    each()
