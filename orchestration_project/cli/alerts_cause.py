"""`alerts cause`: each alert is caused, sent once, and recovers, on a throw-away installation."""

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from orchestration_project.cli.alert_causes import CAUSES, NOTICES
from orchestration_project.cli.alert_trial import Trial, opened_trial
from orchestration_project.cli.console import OUTPUT, emit, progress, show_rows
from orchestration_project.errors import UnknownNameError, did_you_mean
from orchestration_project.settings import Settings, load_settings

LOST_DATABASE = "database"
"""The alert that no table can hold: it is sent at once, and counted as it was received."""

LOOKS = 3
"""Looks while the cause lasts: one look alone may be wrong, and a third must send nothing new."""

HEADINGS = {"name": "alert", "sent": "sent", "recovered": "recovered", "result": "result"}


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


def cause(names: Sequence[str]) -> int:
    """Cause alerts of these kinds, all without one, and show what became of each.

    Raises:
        ConfigurationError: A kind does not exist; names those that do.
    """
    for name in names:
        if name not in CAUSES:
            raise UnknownNameError(
                f"no alert {name!r} can be caused",
                expected=f"one of {', '.join(CAUSES)}",
                remedy=did_you_mean(name, CAUSES) or "take a name of this list",
            )
    settings, found = load_settings(), list[CausedAlert]()
    for name in names or CAUSES:
        progress(f"causing {name}")
        found.append(cause_one(settings, name))
    rows = [
        {
            "name": each.name,
            "sent": each.sent_count,
            "recovered": {True: "yes", False: "no", None: "a notice"}[each.is_recovered],
            "result": "OK" if each.is_right else "FAILED",
        }
        for each in found
    ]
    if OUTPUT.is_json:
        emit(rows)
    else:
        show_rows(rows, HEADINGS)
    return int(not all(each.is_right for each in found))


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
            trial.look()
        if name == LOST_DATABASE:
            return _lost_database(trial, steps)
        sent_count = trial.sent_count(name)
        if name in NOTICES:
            return CausedAlert(name, sent_count, None)
        next(steps, None)
        for _ in range(LOOKS):
            trial.look()
        return CausedAlert(name, sent_count, trial.states(name) == ["recovered"])


def _lost_database(trial: Trial, steps: Iterator[None]) -> CausedAlert:
    sent_count = sum("database cannot be used" in title for title in trial.received)
    next(steps, None)
    trial.look()
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
