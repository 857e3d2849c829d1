"""Captured prices, requested or read again."""

from orchestration_project.engine.recovery import RecordedCapture, Recovery, RecoveryEnvironment
from orchestration_project.settings import Settings
from orchestration_project.settings.domains.prices import PricesSettings

SOURCES = frozenset({"alpha_vantage", "yahoo", "files", "demo"})


def _is_own(capture: RecordedCapture, settings: Settings) -> bool:
    """Whether it is of the first source of prices that the settings name."""
    chosen = PricesSettings.of(settings)
    is_source = capture.source == chosen.prices_source and capture.source in SOURCES
    return is_source and isinstance(capture.request.get("symbol"), str)


def _read(capture: RecordedCapture, given: RecoveryEnvironment) -> bytes | None:
    return given.open("prices").fetch_again(capture.request)


RECOVERIES = [Recovery(way="source", applies=_is_own, read=_read)]
"""Answers for a symbol, and files of a folder."""
