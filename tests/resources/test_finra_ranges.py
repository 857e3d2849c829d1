"""Weeks with more records than FINRA lets one page to: how they are requested, and refused."""

from collections import Counter
from dataclasses import replace
from datetime import date
from random import Random

import pytest

from orchestration_project.domains.finra.declaration import PAGING
from orchestration_project.engine.captures import build_parts
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.errors import MovedError, SourceError
from tests.domains.weekly import audited_week
from tests.faulty_server import Reply
from tests.resources.finra_server import (
    TIER,
    WEEK,
    Finra,
    as_json,
    body_of,
    is_page,
    record,
    records,
)

MONDAY = date.fromisoformat(WEEK)
WEEK_OF_TIER = Partition(MONDAY, TIER)
LIMIT = PAGING.size
"""The largest offset in these tests."""

MAX_ROWS = LIMIT + PAGING.size
SYMBOL = "issueSymbolIdentifier"
OTHER_SUMS = ["ATS_W_FIRM", "OTC_W_FIRM", "ATS_W_VOL_STATS", "OTC_W_VOL_STATS"]
PARTITION = [
    {"fieldName": "weekStartDate", "fieldValue": WEEK, "compareType": "EQUAL"},
    {"fieldName": "tierIdentifier", "fieldValue": TIER, "compareType": "EQUAL"},
]


def week(count=3 * LIMIT + 1, *, firms=3):
    """Return a week whose symbols have rows of some firms each, so that boundaries fall in one."""
    return [
        record(f"S{number // firms:06}", firmCRDNumber=number % firms) for number in range(count)
    ]


def sums(count: int, symbol: str | None = None):
    """Return FINRA's sums by firm, which are of no symbol."""
    return [
        record(symbol, firmCRDNumber=number, summaryTypeCode="ATS_W_FIRM")
        for number in range(count)
    ]


def shuffled(rows):
    return Random(7).sample(rows, len(rows))  # noqa: S311 - not for secrets


@pytest.fixture
def opened(ask):
    """Give a client and a FINRA that let one page to LIMIT, and the requests that FINRA saw."""

    def open_for(rows, **changes):
        finra = Finra(rows, largest_offset=LIMIT, **changes)
        api, requests = ask(finra, paging=replace(PAGING, max_offset=LIMIT))
        return api, finra, requests

    return open_for


def fetched(api, kept=None):
    return api.extract_version(
        WEEK_OF_TIER, api.version(WEEK_OF_TIER), [] if kept is None else kept
    )


def keys_of(captures):
    lines = [line for capture in captures for line in capture.body.decode().splitlines()[1:]]
    fields = [line.split("|") for line in lines]
    return [(field[3], int(field[5])) for field in fields]


def keys_in(rows):
    return sorted((row[SYMBOL] or "", row["firmCRDNumber"]) for row in rows)


def pages(requests):
    return [body_of(request) for request in requests if is_page(request)]


def probes(requests):
    return [
        body_of(request)
        for request in requests
        if request.method == "POST"
        and not is_page(request)
        and body_of(request)["fields"] == [SYMBOL]
    ]


def compared(compare_type, symbol):
    return {"fieldName": SYMBOL, "fieldValue": symbol, "compareType": compare_type}


@pytest.mark.slow
def test_a_week_over_the_limit_comes_whole_each_record_once_and_in_the_order_of_symbols(opened):
    rows = week()
    api, _, requests = opened(shuffled(rows))
    kept = []
    captures = fetched(api, kept)
    assert keys_of(captures) == keys_in(rows)
    assert kept == list(captures)
    assert (
        max(body_of(request)["offset"] for request in requests if request.method == "POST") == LIMIT
    )
    checked = audited_week(
        build_parts(captures),
        week_start=MONDAY,
        tier=TIER,
        record_total=len(rows),
        max_reject_ratio=0,
    )
    assert checked.audits[0].outcome == "passed"


@pytest.mark.slow
def test_the_questions_are_exactly_these(opened):
    api, _, requests = opened(week())
    captures = fetched(api)
    bounds = ["S001666", "S003332", "S004998"]
    rest = [[], *([compared("GTE", symbol)] for symbol in bounds)]
    until = [*([compared("LESSER", symbol)] for symbol in bounds), []]
    ranges = [[*PARTITION, *start, *end] for start, end in zip(rest, until, strict=True)]
    looks = [
        question
        for start, whole in zip(rest, ranges, strict=True)
        for question in ((LIMIT, [*PARTITION, *start]), (0, whole))
    ]
    del looks[-2]  # the last range needs no boundary
    assert probes(requests) == [
        {
            "fields": [SYMBOL],
            "compareFilters": filters,
            "limit": 1,
            "offset": offset,
            "sortFields": [SYMBOL],
        }
        for offset, filters in looks
    ]
    totals = [4998, 4998, 4998, 7]
    requested = [
        (page["compareFilters"], page["offset"], page["limit"]) for page in pages(requests)
    ]
    assert requested == [(each, 0, total) for each, total in zip(ranges, totals, strict=True)]
    assert [capture.request for capture in captures] == pages(requests)
    assert all(
        page["sortFields"] == [SYMBOL, "summaryTypeCode", "firmCRDNumber", "MPID"]
        for page in pages(requests)
    )


@pytest.mark.slow
def test_pages_that_come_short_lead_to_no_offset_over_the_limit(opened):
    rows = week()
    one = len("|".join(map(str, rows[0].values()))) + 1
    api, _, requests = opened(rows, page_bytes=one * 1500)
    assert keys_of(fetched(api)) == keys_in(rows)
    assert max(page["offset"] for page in pages(requests)) < LIMIT
    assert len(pages(requests)) == 4 + 4 + 4 + 1


@pytest.mark.slow
def test_a_week_at_the_limit_is_asked_for_as_one(opened):
    api, _, requests = opened(week(MAX_ROWS))
    assert keys_of(fetched(api)) == keys_in(week(MAX_ROWS))
    assert probes(requests) == []
    requested = [(page["compareFilters"], page["offset"]) for page in pages(requests)]
    assert sorted(requested, key=str) == [(PARTITION, 0), (PARTITION, LIMIT)]


@pytest.mark.slow
def test_blank_symbols_come_with_the_first_range(opened):
    rows = [*week(), *sums(100, symbol=""), record("aa"), record("EP$C"), record("BRK.B")]
    api, _, requests = opened(shuffled(rows))
    assert keys_of(fetched(api)) == keys_in(rows)
    assert not any("domainFilters" in page for page in pages(requests))


@pytest.mark.slow
def test_sums_of_no_symbol_that_answer_to_no_range_are_asked_for_by_their_type(opened):
    rows = [*week(), *sums(100)]
    api, _, requests = opened(shuffled(rows))
    keys = keys_of(fetched(api))
    assert sorted(keys) == keys_in(rows)
    assert keys[-100:] == [("", number) for number in range(100)]
    last = pages(requests)[-1]
    assert last["compareFilters"] == PARTITION
    assert last["domainFilters"] == [{"fieldName": "summaryTypeCode", "values": OTHER_SUMS}]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("odd", "found"),
    [
        ([record(None)], "4998 + 4998 + 4998 + 7 + 0 = 15001"),
        ([record(None), *sums(20)], "4998 + 4998 + 4998 + 7 + 20 = 15021"),
        ([*sums(10, symbol=""), *sums(20)], "4999 + 4998 + 4998 + 16 + 30 = 15041"),
        ([record(None)] * (LIMIT + 1), "4998 + 4998 + 4998 + 7 + 0 = 15001"),
    ],
)
def test_ranges_that_do_not_add_up_are_refused_with_numbers_before_any_page(opened, odd, found):
    api, _, requests = opened([*week(), *odd])
    with pytest.raises(SourceError, match=f"^{TIER}, week {WEEK}, does not come whole") as refusal:
        fetched(api)
    assert (refusal.value.expected, refusal.value.found) == (
        f"Record-Total {15_001 + len(odd)}",
        found,
    )
    assert pages(requests) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize("first", [0, 899, 12_000])
def test_one_symbol_larger_than_the_limit_is_refused_before_any_page(opened, first):
    large = [record("T", firmCRDNumber=number) for number in range(LIMIT + 1)]
    api, _, requests = opened([*week(first), *large, *sums(LIMIT, symbol="X")])
    with pytest.raises(SourceError, match="has more records of one symbol than FINRA") as refusal:
        fetched(api)
    assert (refusal.value.expected, refusal.value.found) == (
        "at most 5000",
        "the symbol 'T' still, 5000 records after its first",
    )
    assert not refusal.value.is_retryable
    assert pages(requests) == []


@pytest.mark.slow
def test_a_symbol_as_large_as_the_limit_comes_in_a_range_of_its_own(opened):
    large = [record("T", firmCRDNumber=number) for number in range(LIMIT)]
    rows = [*records(900), *large, *sums(MAX_ROWS, symbol="U")[:LIMIT]]
    api, _, requests = opened(shuffled(rows))
    assert keys_of(fetched(api)) == keys_in(rows)
    assert [page["limit"] for page in pages(requests)] == [900, LIMIT, LIMIT]
    assert [probe["offset"] for probe in probes(requests)] == [LIMIT, 0, LIMIT, 0, 0]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("symbol", [None, ""])
def test_more_records_without_a_symbol_than_can_be_paged_to_are_refused(opened, symbol):
    def blank(request, reply):
        if request.method == "POST" and body_of(request)["offset"] == LIMIT:
            return as_json([{SYMBOL: symbol}], {"Record-Total": reply.headers["Record-Total"]})
        return reply

    api, _, requests = opened(week(), spoil=blank)
    with pytest.raises(SourceError, match="more records of one symbol") as refusal:
        fetched(api)
    assert refusal.value.found == "the symbol '' still, 5000 records after its first"
    assert pages(requests) == []


def test_a_range_that_is_larger_than_the_order_of_symbols_promised_is_refused(opened):
    def claim(request, reply):
        if "LESSER" in str(request.body):
            return Reply(200, reply.headers | {"Record-Total": str(MAX_ROWS + 9)}, reply.body)
        return reply

    api, _, requests = opened(week(), spoil=claim)
    with pytest.raises(SourceError, match="has a range of symbols with more records") as refusal:
        fetched(api)
    assert (refusal.value.expected, refusal.value.found) == ("at most 10000", "Record-Total 10009")
    assert pages(requests) == []


def test_a_symbol_that_no_terminal_should_see_is_quoted_in_ascii_and_cut(opened):
    large = [record("\x1b[2Jé" + "S" * 500, firmCRDNumber=number) for number in range(MAX_ROWS + 1)]
    api, _, _ = opened(large)
    with pytest.raises(SourceError, match="more records of one symbol") as refusal:
        fetched(api)
    assert refusal.value.found.isascii()
    assert refusal.value.found.isprintable()
    assert len(refusal.value.found) < 120


def after(count, of, change):
    """Change FINRA after a number of questions of a kind."""
    seen = Counter()

    def spoil(request, reply):
        if of(request):
            seen["all"] += 1
            if seen["all"] == count:
                change()
        return reply

    return spoil


def is_probe(request):
    return request.method == "POST" and body_of(request)["fields"] == [SYMBOL]


def test_a_range_that_moves_while_another_is_read_is_a_move(opened):
    api, finra, requests = opened(week())
    finra.spoil = after(1, is_page, lambda: setattr(finra, "rows", [*week(), record("S002000")]))
    kept = []
    with pytest.raises(MovedError) as moved:
        fetched(api, kept)
    assert (moved.value.expected, moved.value.found) == ("Record-Total 4998", "Record-Total 4999")
    assert [capture.row_count for capture in kept] == [4998, 4998]
    assert len(pages(requests)) == 2


@pytest.mark.slow
def test_a_range_that_moves_after_it_was_read_is_a_move(opened):
    api, finra, _ = opened(week())
    finra.spoil = after(2, is_page, lambda: setattr(finra, "rows", [*week(), record("S000001")]))
    with pytest.raises(MovedError) as moved:
        fetched(api)
    assert moved.value.found == "weeklySummary: 15002 records, updated 2025-12-01"


@pytest.mark.slow_after_first
@pytest.mark.parametrize("change", [[*week(), record("S000001")], week(MAX_ROWS), week(1)])
def test_ranges_that_do_not_add_up_since_the_source_moved_are_a_move(opened, change):
    api, finra, requests = opened(week())
    finra.spoil = after(1, is_probe, lambda: setattr(finra, "rows", change))
    with pytest.raises(MovedError) as moved:
        fetched(api)
    assert moved.value.expected == "weeklySummary: 15001 records, updated 2025-12-01"
    assert pages(requests) == []


def test_the_historic_dataset_takes_no_sort_and_so_no_ranges(opened):
    published = {"weeklySummary": [], "weeklySummaryHistoric": [(WEEK, TIER)]}
    api, _, requests = opened(week(), published=published)
    with pytest.raises(SourceError, match="more records than FINRA lets one page to") as refusal:
        fetched(api)
    assert (refusal.value.expected, refusal.value.found) == (
        f"at most {MAX_ROWS}",
        "Record-Total 15001",
    )
    assert (probes(requests), pages(requests)) == ([], [])
