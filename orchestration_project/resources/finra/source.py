"""FINRA's weekly data as a source: what is published, in which version, and what is outdated."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Protocol

from orchestration_project.domains.finra.calendar import TIERS
from orchestration_project.domains.finra.selection import (
    TierWeek,
    horizon_start,
    of_known_tiers,
    outdated,
)
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.source import Extraction, PartitionList, Source, SourceVersion
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import SourceError
from orchestration_project.settings.values import MAX_WEEKS

MAX_CONCURRENT_VERSIONS = 8


class FinraSource(Source, Protocol):
    """A source of the partitions of `finra_otc_weekly`; a load does not ask it for fields."""

    def published(self, *, since: date | None = None) -> Sequence[tuple[str, str]]:
        """Return (weekStartDate, tierIdentifier) of every partition that can be had now.

        With ``since``, only of weeks that start then or later, which may be cheaper to know.
        """
        ...

    def maybe_changed(
        self, known: Collection[TierWeek], *, since: date, until: date
    ) -> Sequence[TierWeek]:
        """Return those of the ``known`` partitions that may have changed between two days.

        The days count both. None that changed is left out, of those that the source still has and
        whose change it dates; their versions show which did.

        Raises:
            TransientError: The source does not answer now.
        """
        ...

    def list_fields(self) -> Mapping[str, str] | None:
        """Return the type of each field that it has now, by name; None where it lists none.

        Raises:
            SourceError: Its answer is not a list of fields.
        """
        ...

    def version(self, partition: Partition) -> SourceVersion:
        """Return the state of a partition: one request, or the hashes of its files.

        Raises:
            SourceError: The partition does not exist, or is empty.
        """
        ...

    def partitions(self, since: date | None = None) -> PartitionList:
        """Return the partitions that are published, oldest first, and tiers that are not known."""
        tier_weeks, unknown = of_known_tiers(self.published())
        return PartitionList(
            sorted(Partition(week.week_start, week.tier) for week in tier_weeks), unknown
        )

    def extract(self, partition: Partition, captures: list[Capture]) -> Extraction:
        """Fetch a partition in its present state."""
        version = self.version(partition)
        found = self.extract_version(partition, version, captures)
        return Extraction(found, version.text, version.record_total)

    def extract_version(
        self, partition: Partition, version: SourceVersion, captures: list[Capture]
    ) -> Sequence[Capture]:
        """Fetch a partition in a state that `version` returned, keeping all bytes."""
        ...


def published_lately(source: FinraSource, weeks: int, *, today: date) -> Sequence[tuple[str, str]]:
    """Return the weeks that a source published, with the latest ``weeks`` of each tier that it has.

    Older weeks are requested only where these are not enough.
    """
    lately = source.published(since=horizon_start(today, min(weeks, MAX_WEEKS)))
    counts = Counter(tier for _, tier in lately)
    return lately if all(counts[tier] >= weeks for tier in TIERS) else source.published()


def versions_of(
    source: FinraSource, partitions: Iterable[TierWeek]
) -> tuple[dict[str, str], dict[str, SourceError]]:
    """Return the state of each partition by its key, and of those that have none, why.

    Raises:
        TransientError: The source does not answer now.
    """
    versions: dict[str, str] = {}
    refusals: dict[str, SourceError] = {}

    def ask(each: TierWeek) -> None:
        try:
            versions[each.key] = source.version(Partition(each.week_start, each.tier)).text
        except SourceError as error:
            refusals[each.key] = error

    with ThreadPoolExecutor(MAX_CONCURRENT_VERSIONS) as pool:
        list(pool.map(ask, partitions))
    return versions, refusals


def outdated_weeks(
    finra: FinraSource,
    warehouse: Warehouse,
    wanted: Sequence[TierWeek],
    *,
    only_taken: bool = False,
    full: bool = False,
) -> tuple[list[TierWeek], dict[str, SourceError]]:
    """Return the weeks that are missing or changed, and why the source says nothing of others.

    With ``only_taken`` the missing ones are left out; with ``full`` the unchanged ones count too.

    Raises:
        TransientError: The source does not answer now.
    """
    seen_names = warehouse.known_versions(finra_otc_weekly)
    tier_weeks = [tier_week for tier_week in wanted if tier_week.key in seen_names]
    chosen = tier_weeks if only_taken else wanted
    if full:
        return sorted(chosen), {}
    now, refusals = versions_of(finra, tier_weeks)
    return outdated(
        [tier_week for tier_week in chosen if tier_week.key not in refusals],
        seen=seen_names,
        now=now,
    ), refusals
