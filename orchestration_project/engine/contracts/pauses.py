"""Pauses of runs: what they apply to, until when, and whether a run has to wait."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from orchestration_project.errors import ConfigurationError, did_you_mean

ALL = "all"
"""Subject of a pause of all domains but `OPERATIONS`, whose jobs verify, watch and repair."""

OPERATIONS = "operations"

SOURCE_PREFIX = "source:"
"""Start of a subject that is a source: the other names are domains and assets."""

RUNS_WHILE_PAUSED = {"runs_while_paused": "true"}
"""Tag of a job whose runs no pause holds: it reads our tables only, or resumes runs."""

MAX_REASON_CHARACTERS = 500


@dataclass(frozen=True)
class Pause:
    """A pause.

    Attributes:
        subject: `ALL`, a domain, an asset such as finra/otc_weekly, or a source such as
            source:finra.
        reason: Reason in words, for people.
        paused_by: User.
        paused_at: Time from which no run starts.
        until: Time from which runs start again; None: until they are resumed.
    """

    subject: str
    reason: str
    paused_by: str
    paused_at: datetime
    until: datetime | None = None

    @property
    def source(self) -> str:
        """Name of the source; empty: the subject is none."""
        return self.subject.removeprefix(SOURCE_PREFIX) if self._is_source else ""

    @property
    def _is_source(self) -> bool:
        return self.subject.startswith(SOURCE_PREFIX)

    @property
    def text(self) -> str:
        """The pause in words, e.g. ``finra is paused until 2026-03-02 18:00 UTC by ada: move``."""
        until = "" if self.until is None else f" until {self.until.astimezone(UTC):%F %R} UTC"
        return f"{self.subject} is paused{until} by {self.paused_by}: {self.reason}"

    def is_in_effect(self, now: datetime) -> bool:
        """Whether no run of its subject starts at a time."""
        return self.until is None or now < self.until


def run_subjects(
    domains: Collection[str], assets: Collection[str], sources: Collection[str]
) -> frozenset[str]:
    """Return the subjects whose pause holds a run.

    Args:
        domains: Domains of its job and assets.
        assets: Assets that it makes or checks, e.g. finra/otc_weekly.
        sources: Sources that its steps request.
    """
    named_domains = {*domains, *(asset.partition("/")[0] for asset in assets)}
    whole = [] if named_domains == {OPERATIONS} else [ALL]
    return frozenset({*whole, *named_domains, *assets, *(SOURCE_PREFIX + name for name in sources)})


def find_pause(pauses: Iterable[Pause], subjects: Collection[str]) -> Pause | None:
    """Return the pause that holds a run of these subjects the longest; None: it may start."""
    matching = [pause for pause in pauses if pause.subject in subjects]
    return max(matching, key=_find_end, default=None)


def _find_end(pause: Pause) -> datetime:
    return pause.until or datetime.max.replace(tzinfo=UTC)


def read_end(text: str) -> datetime:
    """Return the end of a pause.

    Raises:
        ConfigurationError: The text is not a time with a zone.
    """
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        end = None
    if end is None or end.tzinfo is None:
        raise ConfigurationError(
            "invalid end of a pause: expected a time with its zone, e.g. 2026-03-02T18:00Z, "
            f"found {text[:100]!r}"
        )
    return end.astimezone(UTC)


def require_valid_pause(pause: Pause, known_subjects: Collection[str]) -> None:
    """Make sure that a pause can be made.

    Raises:
        ConfigurationError: Its subject is unknown, its reason is empty or too long, or its end has
            passed.
    """
    if pause.subject not in known_subjects:
        raise ConfigurationError(
            f"invalid subject of a pause: expected {ALL}, a domain, an asset or a source, "
            f"found {pause.subject[:100]!r}",
            expected=f"e.g. finra, finra/otc_weekly or {SOURCE_PREFIX}finra",
            remedy=did_you_mean(pause.subject, known_subjects) or "list them by `datasets`",
        )
    if not 0 < len(pause.reason.strip()) <= MAX_REASON_CHARACTERS:
        raise ConfigurationError(
            f"invalid reason: expected 1 to {MAX_REASON_CHARACTERS} characters, "
            f"found {len(pause.reason.strip())}"
        )
    if pause.until is not None and pause.until <= pause.paused_at:
        raise ConfigurationError(
            f"invalid end of a pause: expected a time after {pause.paused_at.astimezone(UTC):%F %R}"
            f" UTC, found {pause.until.astimezone(UTC):%F %R} UTC"
        )
