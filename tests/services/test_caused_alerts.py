"""Each kind of alert is caused on a throw-away installation, sent once, and recovers."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from orchestration_project.services.alerts.rules.decisions import KINDS
from orchestration_project.settings import Settings, load_settings
from tests.alert_causes import CAUSES, NOTICES
from tests.alert_trial import Trial, opened_trial

LOST_DATABASE = "database"
"""The alert that no table can hold: it is sent at once, and counted as it was received."""

LOOKS = 3
"""Looks while the cause lasts: one look alone may be wrong, and a third must send nothing new."""


class CausedAlert(NamedTuple):
    """The result of a caused alert.

    Attributes:
        name: Its kind.
        sent_count: How often it was sent while its cause lasted.
        is_recovered: Whether it recovered; None: a notice, which does not.
    """

    name: str
    sent_count: int
    is_recovered: bool | None

    @property
    def is_right(self) -> bool:
        """Whether it was sent once, and recovered if it can."""
        return self.sent_count == 1 and self.is_recovered is not False


def cause_one(settings: Settings, name: str) -> CausedAlert:
    """Cause one alert in a folder of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="alert-") as folder,
        _without_logs(),
        opened_trial(settings, Path(folder)) as trial,
    ):
        steps = CAUSES[name](trial)
        next(steps)
        for _ in range(LOOKS):
            trial.poll_runs()
        if name == LOST_DATABASE:
            return _lost_database(trial, steps)
        sent_count = trial.sent_count(name)
        if name in NOTICES:
            return CausedAlert(name, sent_count, None)
        next(steps, None)
        for _ in range(LOOKS):
            trial.poll_runs()
        return CausedAlert(name, sent_count, trial.states(name) == ["recovered"])


def _lost_database(trial: Trial, steps: Iterator[None]) -> CausedAlert:
    sent_count = sum("database cannot be used" in title for title in trial.received)
    next(steps, None)
    trial.poll_runs()
    is_recovered = any(title.startswith("Recovered: the database") for title in trial.received)
    return CausedAlert(LOST_DATABASE, sent_count, is_recovered)


@contextmanager
def _without_logs() -> Iterator[None]:
    """Keep the logs of caused failures out of the terminal."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def test_every_kind_of_alert_can_be_caused():
    assert set(CAUSES) == set(KINDS) - {"recovered", "test"}


@pytest.mark.slow
def test_a_caused_alert_leaves_the_installation_as_it_is(demo_settings):
    before = sorted(load_settings().state_path.rglob("*"))
    found = cause_one(load_settings(), "objective_burning")
    assert found == CausedAlert("objective_burning", 1, True)
    assert sorted(load_settings().state_path.rglob("*")) == before


def test_an_alert_that_is_sent_twice_or_does_not_recover_is_wrong():
    assert CausedAlert("a", 1, True).is_right
    assert CausedAlert("a", 1, None).is_right
    assert not CausedAlert("a", 2, True).is_right
    assert not CausedAlert("a", 0, True).is_right
    assert not CausedAlert("a", 1, False).is_right


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSES)
def test_each_alert_is_sent_once_and_recovers(demo_settings, name):
    found = cause_one(load_settings(), name)
    assert found.is_right, found
