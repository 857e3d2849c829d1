"""FINRA's weekly OTC data by its Query API: what is published, and a partition's pages."""

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import date

from orchestration_project.domains.finra.calendar import first_week_published_since
from orchestration_project.domains.finra.contract import API_FIELDS, SYMBOL
from orchestration_project.domains.finra.declaration import PAGING, endpoints
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.captures import Capture
from orchestration_project.engine.contracts.delimited import DELIMITER
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.source import SourceVersion, build_moved_error
from orchestration_project.errors import ConfigurationError, SourceError, UnavailableError
from orchestration_project.resources.finra.query_api import Filter, QueryApi, compared
from orchestration_project.resources.finra.ranges import QueryPart, RangeProbe, pieces_of
from orchestration_project.resources.finra.source import FinraSource

LOG = logging.getLogger(__name__)

GROUP = "otcMarket"
CURRENT, HISTORIC = "weeklySummary", "weeklySummaryHistoric"
"""The last 12 months, and the three years before; the latter takes no sort."""

PLACES = {name: endpoints(GROUP, name) for name in (CURRENT, HISTORIC)}

SORT = (SYMBOL, "summaryTypeCode", "firmCRDNumber", "MPID")
"""Makes the order of pages certain, where FINRA allows a sort."""


class FinraApi(FinraSource):
    """Reads FINRA's weekly data, or that of whatever speaks its Query API at another address."""

    def __init__(self, api: QueryApi) -> None:
        self.api = api

    @property
    def name(self) -> str:
        """Source name in captures and loads: demo or api."""
        return self.api.name

    def published(self, *, since: date | None = None) -> Sequence[tuple[str, str]]:
        """Return (weekStartDate, tierIdentifier) of every partition of both datasets.

        Where the current dataset reaches back to ``since``, one request is enough. A historic list
        that cannot be had or read leaves out what it alone has, and a warning in the log says so.
        """
        listed, start = self._listed_weeks(CURRENT), since.isoformat() if since else ""
        if since is None or not any(week <= start for week, _ in listed):
            try:
                listed |= self._historic_weeks()
            except SourceError as error:
                LOG.warning("%s", error, extra={"event": "historic_weeks_unavailable"})
        return sorted((week, tier) for week, tier in listed if week >= start)

    def maybe_changed(
        self, known: Collection[TierWeek], *, since: date, until: date
    ) -> Sequence[TierWeek]:
        """Ask each tier for rows that FINRA updated: one request, and no page after it.

        Weeks that came out since then carry such dates in every row, so they are not requested but
        returned unseen. So are all weeks of a tier whose answer is longer than a page: without a
        sort, which FINRA refuses here, further pages could miss a week.
        """
        retained = self._listed_weeks(CURRENT)
        held_tier_weeks = [
            tier_week
            for tier_week in known
            if (tier_week.week_start.isoformat(), tier_week.tier) in retained
        ]
        tier_weeks: list[TierWeek] = []
        for tier in sorted({week.tier for week in held_tier_weeks}):
            weeks = [week for week in held_tier_weeks if week.tier == tier]
            settled_before = first_week_published_since(since, tier)
            updated = self._updated(tier, settled_before, since, until)
            tier_weeks += [
                week
                for week in weeks
                if week.week_start >= settled_before
                or updated is None
                or week.week_start.isoformat() in updated
            ]
        return sorted(tier_weeks)

    def _updated(self, tier: str, before: date, since: date, until: date) -> set[str] | None:
        """Return the weeks before ``before`` with updated rows, None if there are too many."""
        query = _build_updates_query(tier, before=before, since=since, until=until)
        response = self.api.send(PLACES[CURRENT].data_url, query)
        rows = self.api.rows_of(response)
        if rows and len(rows) < self.api.pages.total_of(response):
            return None
        updated = {str(row.get("weekStartDate")) for row in rows}
        if not updated <= {week for week, _ in self._listed_weeks(CURRENT)}:
            raise self.api.unusable(
                response, "a weekStartDate that /partitions lists, in each record"
            )
        return updated

    def list_fields(self) -> Mapping[str, str] | None:
        """Return the type of each field of the current dataset, by name, as FINRA lists them."""
        return self.api.fields_of(PLACES[CURRENT].fields)

    def version(self, partition: Partition) -> SourceVersion:
        """Request the number of records and the newest change of a partition: one request."""
        week_start, tier = partition.day, partition.value
        dataset = self._dataset_of(week_start, tier)
        query = _build_query(week_start, tier, fields=["lastUpdateDate"], limit=1)
        if dataset == CURRENT:
            query["sortFields"] = ["-lastUpdateDate"]
        response = self.api.send(PLACES[dataset].data_url, query)
        rows = self.api.rows_of(response)
        if not rows:
            raise SourceError(
                f"{dataset} is empty for {tier}, week {week_start}",
                expected="records, as /partitions lists this week",
                found=f"HTTP {response.status}, no record",
                remedy="ask again later; if it stays so, report it to FINRA",
                url=response.url,
            )
        total = self.api.pages.total_of(response)
        newest = f", updated {rows[0].get('lastUpdateDate')}" if dataset == CURRENT else ""
        return SourceVersion(f"{dataset}: {total} records{newest}", dataset, total)

    def extract_version(
        self, partition: Partition, version: SourceVersion, captures: list[Capture]
    ) -> Sequence[Capture]:
        """Fetch all pages, several at once, and make sure that nothing moved meanwhile.

        More records than FINRA lets one page to are requested in ranges of symbols, one after the
        other.
        """
        week_start, tier = partition.day, partition.value
        total = version.record_total or 0
        pieces: list[tuple[Mapping[str, Sequence[Filter]], int]] = [({}, total)]
        if total > self.api.pages.max_records:
            query_parts = self._pieces(partition, version)
            pieces = [(part.filters, part.record_total) for part in query_parts]
        query = _build_query(week_start, tier, fields=API_FIELDS, limit=PAGING.size)
        query |= {"delimiter": DELIMITER, "quoteValues": False}
        if version.dataset == CURRENT:
            query["sortFields"] = list(SORT)

        pages: list[Capture] = []
        url = PLACES[version.dataset].data_url
        for filters, count in pieces:
            values = {**query, **filters}
            pages += self.api.pages.fetch(url, values, total=count, kept=captures)
        after = self.version(partition)
        if after != version:
            raise build_moved_error(version.text, after.text)
        return pages

    def _pieces(self, partition: Partition, version: SourceVersion) -> list[QueryPart]:
        """Split a partition into what can be paged, by a sort that only the current one takes."""
        week_start, tier = partition.day, partition.value
        total, text = version.record_total or 0, f"{tier}, week {week_start}"
        if version.dataset != CURRENT:
            raise SourceError(
                f"{text}, has more records than FINRA lets one page to",
                expected=f"at most {self.api.pages.max_records}",
                found=f"Record-Total {total}",
                remedy="report it: a week of this size needs another way of asking",
            )
        query = _build_query(week_start, tier, fields=[SYMBOL], limit=1) | {"sortFields": [SYMBOL]}

        def probe(filters: Mapping[str, Sequence[Filter]], offset: int) -> RangeProbe:
            values = {**query, **filters, "offset": offset}
            response = self.api.send(PLACES[CURRENT].data_url, values)
            rows = self.api.rows_of(response)
            if not rows:
                return RangeProbe(0, None)
            return RangeProbe(self.api.pages.total_of(response), str(rows[0].get(SYMBOL) or ""))

        try:
            return pieces_of(
                _filter_partition(week_start, tier),
                total,
                probe,
                largest_offset=self.api.pages.paging.max_offset,
                said=text,
            )
        except SourceError:
            after = self.version(partition)
            if after != version:  # so that what does not fit may do so when it is read again
                raise build_moved_error(version.text, after.text) from None
            raise

    def _dataset_of(self, week_start: date, tier: str) -> str:
        pair = (week_start.isoformat(), tier)
        if pair in self._listed_weeks(CURRENT):
            return CURRENT
        weeks = sorted(week for week, text in self._listed_weeks(CURRENT) if text == tier)
        is_older = not weeks or pair[0] < weeks[0]
        if is_older and pair in self._historic_weeks():
            return HISTORIC
        newest = weeks[-1] if weeks else "none"
        raise UnavailableError(
            f"FINRA has not published {tier}, week {week_start}, or has it no more",
            expected=f"a week that /partitions lists; the newest of {tier} is {newest}",
            found=f"no such week in {CURRENT} and {HISTORIC}"
            if is_older
            else f"no such week in {CURRENT}",
            remedy="request another week, or wait for its publication",
        )

    def _historic_weeks(self) -> frozenset[tuple[str, str]]:
        """Return the weeks of the historic dataset.

        Raises:
            SourceError: Its list cannot be had or read.
        """
        try:
            return self._listed_weeks(HISTORIC)
        except (ConfigurationError, SourceError) as error:
            oldest = min((week for week, _ in self._listed_weeks(CURRENT)), default="now")
            raise SourceError(
                f"the weeks before {oldest} cannot be had: the list of {HISTORIC} is not usable",
                expected=error.expected or "weekStartDate and tierIdentifier of each partition",
                found="; ".join(filter(None, (error.what, error.found))),
                remedy=error.remedy or "newer weeks are not affected; report it if it stays so",
                **error.context,
            ) from error

    def _listed_weeks(self, dataset: str) -> frozenset[tuple[str, str]]:
        return frozenset(
            (week, tier) for week, tier in self.api.list_values(PLACES[dataset].listing)
        )


def _build_query(
    week_start: date, tier: str, *, fields: Sequence[str], limit: int
) -> dict[str, object]:
    return {
        "fields": list(fields),
        "compareFilters": _filter_partition(week_start, tier),
        "limit": limit,
        "offset": 0,
    }


def _build_updates_query(tier: str, *, before: date, since: date, until: date) -> dict[str, object]:
    """Return the query for rows of weeks before ``before`` that were updated between two days.

    `lastUpdateDate` has a day, no time, and a range of days counts both ends.
    """
    updated = {
        "fieldName": "lastUpdateDate",
        "startDate": since.isoformat(),
        "endDate": until.isoformat(),
    }
    return {
        "fields": ["weekStartDate"],
        "compareFilters": [
            compared("tierIdentifier", "EQUAL", tier),
            compared("weekStartDate", "LESSER", before.isoformat()),
        ],
        "dateRangeFilters": [updated],
        "limit": PAGING.size,
        "offset": 0,
    }


def _filter_partition(week_start: date, tier: str) -> list[Filter]:
    return [
        compared("weekStartDate", "EQUAL", week_start.isoformat()),
        compared("tierIdentifier", "EQUAL", tier),
    ]
