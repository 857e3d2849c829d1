"""What settings are made of: paths below the root, other names, times with a zone."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AliasChoices

from orchestration_project.errors import ConfigurationError

PROJECT_ROOT = Path(__file__).resolve().parents[2]

MOST_DAYS = 36_500
MOST_WEEKS, MOST_HOURS, MOST_MINUTES = MOST_DAYS // 7, MOST_DAYS * 24, MOST_DAYS * 24 * 60
"""A century. For much more, or an infinity, there is no such time to reckon with."""

FIRST_YEAR, LAST_YEAR = 1971, 2200
"""Beyond, there is no time to go back to, or forward, by as much as settings may say."""


def from_root(path: Path) -> Path:
    """Return ``path`` as an absolute one: our processes have different working directories.

    Raises:
        ConfigurationError: It begins with the home of a user who has none.
    """
    try:
        return PROJECT_ROOT / path.expanduser()
    except RuntimeError as error:
        raise ConfigurationError(
            f"the path {path} leads nowhere",
            found=f"nobody whose home is {path.parts[0]}",
            remedy="correct it, in the environment or in .env",
        ) from error


def also_read_as(name: str, other: str) -> AliasChoices:
    """Let a setting be given under another name too, which users of similar systems know."""
    return AliasChoices(name, other)


def _zoned(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("needs a time zone, as in 2026-03-02T12:00:00+00:00")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"is no time from {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def _monday(day: date) -> date:
    if day.weekday() != 0:
        raise ValueError(f"{day} is a {day:%A}; FINRA's weeks start on Mondays")
    return day


Zoned = Annotated[datetime, AfterValidator(_zoned)]
"""A time that says its zone, of a year that can be reckoned with."""

Monday = Annotated[date, AfterValidator(_monday)]
"""A day on which FINRA's weeks start."""
