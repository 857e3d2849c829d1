"""Entries of the inbox as values: identity, order, counts, filters and possible actions."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, get_args

from orchestration_project.engine.contracts.failures import PERMANENT_REASONS, TRANSIENT_CATEGORIES
from orchestration_project.engine.contracts.partition_tags import RANGE_END, RANGE_START
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.errors import ConfigurationError

Kind = Literal[
    "imbalance",
    "quarantined",
    "failed_run",
    "dead_letter",
    "failed_item",
    "refused_upload",
    "late",
    "proposal",
    "alert",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of entries, the most important first."""

TITLES: Mapping[str, str] = {
    "imbalance": "Imbalances",
    "quarantined": "Quarantined partitions",
    "failed_run": "Failed runs",
    "dead_letter": "Dead letters",
    "failed_item": "Failed items",
    "refused_upload": "Refused uploads",
    "late": "Late data",
    "proposal": "Proposals",
    "alert": "Open alerts",
}

ActionName = Literal["retry", "replay", "accept", "close", "acknowledge", "ignore", "restore"]
ACTIONS: tuple[ActionName, ...] = get_args(ActionName)

LABELS: Mapping[str, str] = {
    "retry": "Retry",
    "replay": "Replay",
    "accept": "Accept",
    "close": "Close",
    "acknowledge": "Acknowledge",
    "ignore": "Ignore until",
    "restore": "Show again",
}

WITH_REASON: frozenset[str] = frozenset({"accept", "ignore", "acknowledge"})
"""Actions that need a reason."""

WITH_END: frozenset[str] = frozenset({"accept", "ignore"})
"""Actions that end at a time."""

RETRIED_TOGETHER: frozenset[str] = frozenset(
    {"quarantined", "failed_run", "failed_item", "refused_upload"}
)
"""Kinds of which all entries can be retried at once."""

MAX_REASON_CHARACTERS = 500

ACCEPTED_FOR = timedelta(days=1)
"""Time after which an acceptance without a given end is not applied any more."""

MAX_MARKED_FOR = timedelta(days=366)

ID_DIGITS = 16


class Expectation(NamedTuple):
    """A rule that does not hold: its name, what it expects, and what was found."""

    name: str
    expected: str
    found: str


class PreviewTable(NamedTuple):
    """A table of texts that shows what an action would change."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Launch:
    """The run that an action launches.

    Attributes:
        first: First partition; empty: the job has no partitions.
        last: Last partition.
        config: Config of the run.
    """

    job: str
    first: str = ""
    last: str = ""
    config: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def partition(self) -> str | None:
        """The partition of a run of one; None: it has none, or a range."""
        return self.first if self.first and self.first == self.last else None

    @property
    def range_tags(self) -> Mapping[str, str]:
        """The tags of a run over a range of partitions."""
        if not self.first or self.first == self.last:
            return {}
        return {RANGE_START: self.first, RANGE_END: self.last}

    def with_options(self, **options: object) -> "Launch":
        """Return the run with more options of its op."""
        ops: Any = self.config["ops"]
        remaining_entries = {
            op: {"config": {**op_config["config"], **options}} for op, op_config in ops.items()
        }
        return replace(self, config={"ops": remaining_entries})


@dataclass(frozen=True)
class ItemSelection:
    """The work items that an entry is of."""

    topic: str
    reason_code: str


@dataclass(frozen=True)
class Mark:
    """Note of a person on an entry.

    Attributes:
        state: ignored: it is hidden until the end; acknowledged: somebody works on it.
        since: The entry's since at the time of the mark; a later problem of the unit is another.
        until: Its end; None: of an acknowledgement.
    """

    entry_id: str
    state: Literal["ignored", "acknowledged"]
    since: datetime
    reason: str
    marked_by: str
    marked_at: datetime
    until: datetime | None = None

    def is_in_effect(self, since: datetime, now: datetime) -> bool:
        """Return whether it applies to an entry that has been there since a time."""
        return self.since == since and (self.until is None or now < self.until)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that needs a person.

    Attributes:
        kind: Its kind.
        unit: What it is of, the same as long as it needs a person; with the kind it is the id.
        domain: Domain.
        title: Partition, run, topic or title.
        since: First time at which it was like this.
        latest_at: Latest time at which it was found so.
        expectations: What was expected and found.
        count: Items, letters or partitions that it stands for.
        asset: Asset key; empty: none.
        partition: Partition of the asset; empty: none.
        run_id: Run of the latest attempt; empty: none.
        group_id: Delivery; empty: none.
        capture_ids: Captures of the delivery, if they are few.
        category: Category of the error; empty: none.
        advice: Whether a retry can help, and what does.
        can_retry_help: Whether a retry can help without a change; None: it is not known.
        launches: The run of each action that launches one.
        items: Work items that it is of.
        sha256: SHA-256 of the delivery that may be accepted; empty: none may.
        alert_id: Alert; empty: none.
        preview: What an acceptance would change.
        mark: Mark in effect.
    """

    kind: Kind
    unit: str
    domain: str
    title: str
    since: datetime
    latest_at: datetime
    expectations: Sequence[Expectation] = ()
    count: int = 1
    asset: str = ""
    partition: str = ""
    run_id: str = ""
    table: str = ""
    group_id: str = ""
    capture_ids: Sequence[int] = ()
    category: str = ""
    advice: str = ""
    can_retry_help: bool | None = None
    launches: Mapping[str, Launch] = field(default_factory=dict[str, Launch])
    items: ItemSelection | None = None
    sha256: str = ""
    alert_id: str = ""
    is_rerun: bool = False
    preview: Sequence[PreviewTable] = ()
    mark: Mark | None = None

    @property
    def entry_id(self) -> str:
        """Id: the same as long as its unit needs a person."""
        return hashlib.sha256(f"{self.kind}|{self.unit}".encode()).hexdigest()[:ID_DIGITS]

    @property
    def is_ignored(self) -> bool:
        """Whether a mark hides it."""
        return self.mark is not None and self.mark.state == "ignored"

    @property
    def actions(self) -> Sequence[ActionName]:
        """The actions that it can be answered with, in the order of `ACTIONS`."""
        can: dict[ActionName, bool] = {
            "retry": "retry" in self.launches or self.items is not None or self.is_rerun,
            "replay": "replay" in self.launches,
            "accept": "accept" in self.launches,
            "close": bool(self.alert_id),
            "acknowledge": bool(self.alert_id) and self.mark is None,
            "ignore": not self.is_ignored,
            "restore": self.mark is not None,
        }
        return [action for action in ACTIONS if can[action]]

    def actions_of(self, role: Role) -> Sequence[ActionName]:
        """Return the actions that a role has."""
        return self.actions if role.covers(Role.OPERATOR) else []


@dataclass(frozen=True)
class Selection:
    """A filter of entries; None: any.

    Attributes:
        is_ignored: Whether ignored entries are selected, or those that are not.
    """

    kind: str | None = None
    domain: str | None = None
    is_ignored: bool = False

    def selects(self, entry: Entry) -> bool:
        """Return whether it selects an entry."""
        return (
            self.kind in (None, entry.kind)
            and self.domain in (None, entry.domain)
            and entry.is_ignored == self.is_ignored
        )


@dataclass(frozen=True)
class Inbox:
    """All entries, the most important and newest first.

    Attributes:
        cut_kinds: Kinds of which there are more than were read.
    """

    entries: Sequence[Entry]
    cut_kinds: frozenset[str] = frozenset()

    def select(self, chosen: Selection) -> list[Entry]:
        """Return the entries that a filter selects."""
        return [entry for entry in self.entries if chosen.selects(entry)]

    def counts(self, name: Literal["kind", "domain"], chosen: Selection) -> Mapping[str, int]:
        """Return how many entries each kind or domain has; its own filter is left out."""
        other_selection = (
            replace(chosen, kind=None) if name == "kind" else replace(chosen, domain=None)
        )
        counted = Counter(
            getattr(entry, name) for entry in self.entries if other_selection.selects(entry)
        )
        order = KINDS if name == "kind" else sorted(counted)
        return {value: counted[value] for value in order if counted[value]}

    @property
    def open_count(self) -> int:
        """Number of entries that are not ignored."""
        return sum(not entry.is_ignored for entry in self.entries)

    def find(self, entry_id: str) -> Entry | None:
        """Return the entry of an id; None: it does not need a person any more."""
        return next((entry for entry in self.entries if entry.entry_id == entry_id), None)


def build_inbox(
    entries: Iterable[Entry],
    marks: Mapping[str, Mark],
    now: datetime,
    cut_kinds: Iterable[str] = (),
) -> Inbox:
    """Return entries in order, each with its mark if that is in effect."""
    marked = [_mark_entry(entry, marks, now) for entry in entries]
    newest_first = sorted(marked, key=lambda entry: (entry.since, entry.unit), reverse=True)
    in_order = sorted(newest_first, key=lambda entry: KINDS.index(entry.kind))
    return Inbox(in_order, frozenset(cut_kinds))


def _mark_entry(entry: Entry, marks: Mapping[str, Mark], now: datetime) -> Entry:
    mark = marks.get(entry.entry_id)
    is_in_effect = mark is not None and mark.is_in_effect(entry.since, now)
    return replace(entry, mark=mark) if is_in_effect else entry


def advise(category: str) -> tuple[bool, str]:
    """Return whether a retry can help after an error of a category, and why."""
    if category in TRANSIENT_CATEGORIES:
        return True, "a retry can help: the failure is passing"
    reason = PERMANENT_REASONS.get(category, "its cause is not known")
    return False, f"a retry alone does not help: {reason}"


@dataclass(frozen=True)
class Attempt:
    """A step, or a run without one, that ended.

    Attributes:
        unit: Asset, or job and step.
        partition: Partition, or first...last of a range; empty: none.
        created_at: When its run was created.
        ended_at: When it ended.
    """

    unit: str
    partition: str
    created_at: datetime
    ended_at: datetime


def has_partition(loaded: str, partition: str) -> bool:
    """Return whether a partition or range ``first...last`` contains another one."""
    first, _, last = loaded.partition("...")
    begin, _, end = partition.partition("...")
    return first <= begin and (end or begin) <= (last or first)


def find_failure_start(
    failures: Sequence[Attempt], successes: Iterable[Attempt], keys: Sequence[str]
) -> datetime | None:
    """Return since when a unit and partition fail; None: the latest failure was made good.

    Args:
        failures: Failed attempts at it.
        successes: Successful attempts at the same unit, at any partition.
        keys: The partitions of a range, if they are known: each may be loaded by itself.
    """
    loaded = list(successes)
    latest = max(attempt.created_at for attempt in failures)
    whole = failures[0].partition
    covered_at = max(
        (load.created_at for load in loaded if has_partition(load.partition, whole)),
        default=None,
    )
    if covered_at is not None and covered_at > latest:
        return None
    later = [load.partition for load in loaded if load.created_at > latest]
    if keys and all(any(has_partition(partition, key) for partition in later) for key in keys):
        return None
    return min(
        attempt.ended_at
        for attempt in failures
        if covered_at is None or attempt.created_at > covered_at
    )


def require_reason(action: str, reason: str) -> str:
    """Return the reason of an action, without blanks around it.

    Raises:
        ConfigurationError: It is missing, or too long.
    """
    text = reason.strip()
    if action in WITH_REASON and not 0 < len(text) <= MAX_REASON_CHARACTERS:
        raise ConfigurationError(
            f"invalid reason: expected 1 to {MAX_REASON_CHARACTERS} characters",
            found=f"{len(text)}",
            remedy="give a reason in words",
        )
    return text


def require_end(action: str, until: datetime | None, now: datetime) -> datetime | None:
    """Return the end of an action; of an acceptance without one, that after `ACCEPTED_FOR`.

    Raises:
        ConfigurationError: It is missing, has passed, or is too far away.
    """
    if action not in WITH_END:
        return None
    if until is None and action == "accept":
        return now + ACCEPTED_FOR
    if until is None or not now < until <= now + MAX_MARKED_FOR:
        raise ConfigurationError(
            f"invalid end: expected a time within {MAX_MARKED_FOR.days} days from now",
            found=until.isoformat() if until else "none",
            remedy="give a later time with its zone, e.g. 2026-03-02T18:00Z",
        )
    return until
