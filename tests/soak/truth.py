"""What vendors have published by a time, read by the oracle: the programs cannot see it."""

from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

from orchestration_demo.catalogue import Edition
from orchestration_demo.market import Market
from orchestration_demo.pages import text_page
from orchestration_demo.partitions import partition_rows
from orchestration_demo.publication import DELAY, TIERS, WEEK, publication_date, published_weeks
from orchestration_demo.reference_rates import ReferenceRates

from tests.oracle.inputs import Row
from tests.oracle.readers import WEEKLY, ParsedWeek
from tests.soak.scenario import FRANKFURT, NEW_YORK, Scenario

SEED, ROWS_PER_WEEK = 20_250_106, 600
LOOKBACK_WEEKS = 7
BOOKKEEPING = {"capture_id", "known_from"}
MICROS = 10**6
MAX_REJECT_RATIO = Fraction(5, 1000)
"""Of FINRA_MAX_REJECT_RATIO, as docs/reference/settings.md has it."""


class Truth:
    """The vendors' state as the programs should have it, day by day.

    Attributes:
        weeks: Rows of each tier and week by key.
        quarantined: Tiers and weeks whose last edition an audit quarantines.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._market = Market(SEED, ROWS_PER_WEEK)
        self._anchor = scenario.first_day
        self._editions: dict[tuple[str, date], Edition] = {}
        self.weeks: dict[tuple[str, str], dict[tuple, Row]] = {}
        self.quarantined: set[tuple[str, str]] = set()

    def advance(self, moment: datetime) -> None:
        """Publish what is out at a time, within the horizon in which programs look for changes."""
        if self._scenario.is_away(moment):
            return
        today = self._scenario.vendor_time(moment).astimezone(NEW_YORK).date()
        present = moment.astimezone(NEW_YORK).date()
        for tier in TIERS:
            for week in published_weeks(today, tier):
                if week + DELAY[tier] + LOOKBACK_WEEKS * WEEK <= present:
                    break
                found = self._scenario.restatement(tier, week)
                known = found if found and found.day <= today else None
                edition = Edition(tier, week, publication_date(week, tier), known)
                if self._editions.get((tier, week)) != edition:
                    self._editions[tier, week] = edition
                    self._load(edition)

    def _load(self, edition: Edition) -> None:
        """Take an edition as the contract has it; one that is quarantined leaves the last one."""
        rows = partition_rows(self._market, self._anchor, edition)
        content = text_page(rows, "|", is_quoted=False).body
        capture = {"capture_id": 0, "content": content}
        delivery = {"table_name": WEEKLY, "run_id": "", "recorded_at": "", "captures": [capture]}
        parsed = ParsedWeek(delivery).read_lines()
        place = (edition.tier, edition.week.isoformat())
        if parsed.is_quarantined(MAX_REJECT_RATIO):
            self.quarantined.add(place)
        else:
            self.quarantined.discard(place)
            self.weeks[place] = {key: without_bookkeeping(row) for key, row in parsed.rows.items()}

    def rates(self, moment: datetime) -> dict[tuple[str, str], set[int]]:
        """Return the rates x 10^6 that are out by day and currency; of a corrected one both."""
        now = self._scenario.vendor_time(moment)
        found: dict[tuple[str, str], set[int]] = {}
        for day in _vendor_at(now)._days(None):
            first = datetime(day.year, day.month, day.day, 17, tzinfo=FRANKFURT)
            for vendor in (_vendor_at(first), _vendor_at(now)):
                for currency, text in vendor._of(day).items():
                    place = (day.isoformat(), currency)
                    found.setdefault(place, set()).add(int(Decimal(text) * MICROS))
        return found


def _vendor_at(moment: datetime) -> ReferenceRates:
    """Return the vendor of rates as it is at a time."""
    clock: Any = SimpleNamespace(now=lambda: moment)
    return ReferenceRates(SEED, clock)


def without_bookkeeping(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in BOOKKEEPING}
