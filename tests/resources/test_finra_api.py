"""FINRA's Query API: what is asked of it, what is made of its answers, and what is refused."""

import json
import re
import threading
import traceback
from datetime import date, timedelta

import pytest

from orchestration_project.domains.finra.contract import API_FIELDS
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.engine.captures import Captures, build_parts
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.rules import escape_bytes
from orchestration_project.engine.source import TruncatedResponseError
from orchestration_project.errors import (
    ConfigurationError,
    ContractError,
    MovedError,
    SourceError,
    TransientError,
)
from orchestration_project.resources.finra.source import published_lately, versions_of
from tests.domains.weekly import audited_week
from tests.faulty_server import FaultyServer, Reply
from tests.resources.finra_server import (
    TIER,
    TOKEN_PATH,
    WEEK,
    Finra,
    as_json,
    body_of,
    is_page,
    record,
    records,
)
from tests.resources.weeks import NOON

MONDAY = date.fromisoformat(WEEK)
WEEK_OF_TIER = Partition(MONDAY, TIER)
SECRET = "s3cr3t-w0rd"
HISTORIC_ONLY = {"weeklySummary": [], "weeklySummaryHistoric": [(WEEK, TIER)]}
CURRENT_PATH = "/data/group/otcMarket/name/weeklySummary"
HTML = b"<!DOCTYPE html><html><body>Access Denied</body></html>"


@pytest.fixture
def serve_other():
    """The address of another host, and what it was asked."""
    with FaultyServer(lambda _: as_json({"access_token": "stolen"})) as other:
        yield other.url, other.requests


def fetched(api, kept=None):
    return api.extract_version(
        WEEK_OF_TIER, api.version(WEEK_OF_TIER), [] if kept is None else kept
    )


def rows_of(captures):
    lines = [line for capture in captures for line in capture.body.decode().splitlines()[1:]]
    return [line.split("|")[3] for line in lines]


def pages(requests):
    return [request for request in requests if is_page(request)]


def probes(requests):
    return [request for request in requests if request.method == "POST" and not is_page(request)]


def whole_text(error):
    return "".join(traceback.format_exception(error))


# What is asked


def test_the_questions_are_exactly_these(ask):
    api, requests = ask(Finra(records(3)))
    fetched(api)
    filters = [
        {"fieldName": "weekStartDate", "fieldValue": WEEK, "compareType": "EQUAL"},
        {"fieldName": "tierIdentifier", "fieldValue": TIER, "compareType": "EQUAL"},
    ]
    probe = {
        "fields": ["lastUpdateDate"],
        "compareFilters": filters,
        "limit": 1,
        "offset": 0,
        "sortFields": ["-lastUpdateDate"],
    }
    page = {
        "fields": list(API_FIELDS),
        "compareFilters": filters,
        "limit": 3,
        "offset": 0,
        "delimiter": "|",
        "quoteValues": False,
        "sortFields": ["issueSymbolIdentifier", "summaryTypeCode", "firmCRDNumber", "MPID"],
    }
    assert [
        (
            request.method,
            request.target,
            request.headers["accept"],
            request.body and json.loads(request.body),
        )
        for request in requests
    ] == [
        ("GET", "/partitions/group/otcMarket/name/weeklySummary", "application/json", b""),
        ("POST", CURRENT_PATH, "application/json", probe),
        ("POST", CURRENT_PATH, "text/plain", page),
        ("POST", CURRENT_PATH, "application/json", probe),
    ]
    assert not any("authorization" in request.headers for request in requests)


def test_a_week_that_is_only_in_the_historic_dataset_is_asked_for_there_and_not_sorted(ask):
    api, requests = ask(Finra(records(3), published=HISTORIC_ONLY))
    version = api.version(WEEK_OF_TIER)
    assert (version.text, version.dataset, version.record_total) == (
        "weeklySummaryHistoric: 3 records",
        "weeklySummaryHistoric",
        3,
    )
    assert rows_of(api.extract_version(WEEK_OF_TIER, version, [])) == [
        "S000000",
        "S000001",
        "S000002",
    ]
    requested = [request for request in requests if request.method == "POST"]
    assert {request.target for request in requested} == {f"{CURRENT_PATH}Historic"}
    assert not any("sortFields" in body_of(request) for request in requested)


def test_the_published_partitions_are_those_of_both_datasets(ask):
    published = {
        "weeklySummary": [("2025-11-10", "T1"), ("2025-11-10", "NMS")],
        "weeklySummaryHistoric": [("2021-01-04", "OTCE"), ("2025-11-10", "T1")],
    }
    api, requests = ask(Finra([], published=published))
    expected = [("2021-01-04", "OTCE"), ("2025-11-10", "NMS"), ("2025-11-10", "T1")]
    assert list(api.published()) == expected
    assert list(api.published()) == expected
    assert len(requests) == 2


OLD = date(2023, 1, 2)


def without_historic_list(reply):
    return lambda request, usual: (
        reply
        if request.target == "/partitions/group/otcMarket/name/weeklySummaryHistoric"
        else usual
    )


UNLISTED = {
    "404": Reply(404, {}, b'{"statusCode": 404, "message": "Not found"}'),
    "401": Reply(401, {}, b'{"message": "no"}'),
    "three_fields": as_json(
        {"availablePartitions": [{"partitions": ["2023-01-01", "2023-01-02", "T1"]}]}
    ),
    "web_page": Reply(200, {}, HTML),
}


@pytest.mark.parametrize("reply", UNLISTED.values(), ids=UNLISTED)
def test_a_historic_list_that_cannot_be_had_or_read_holds_back_older_weeks_alone(ask, reply):
    api, _ = ask(Finra(records(3), spoil=without_historic_list(reply)))
    assert list(api.published()) == [(WEEK, TIER)]
    assert list(api.published(since=OLD)) == [(WEEK, TIER)]
    assert len(fetched(api)) == 1
    with pytest.raises(SourceError, match="the weeks before 2025-11-10 cannot be had") as refusal:
        api.version(Partition(OLD, TIER))
    assert f"HTTP {reply.status}" in refusal.value.found
    old, new = TierWeek(TIER, OLD), TierWeek(TIER, MONDAY)
    versions, refusals = versions_of(api, [old, new])
    assert (set(versions), set(refusals)) == ({new.key}, {old.key})


def test_the_historic_list_is_asked_for_older_weeks_only(ask):
    api, requests = ask(Finra(records(3)))
    fetched(api)
    api.published(since=MONDAY)
    with pytest.raises(SourceError, match="has not published") as refusal:
        api.version(Partition(MONDAY + timedelta(days=7), TIER))
    assert refusal.value.found == "no such week in weeklySummary"
    assert not any("Historic" in request.target for request in requests)
    with pytest.raises(SourceError, match="has not published") as refusal:
        api.version(Partition(OLD, TIER))
    assert refusal.value.found == "no such week in weeklySummary and weeklySummaryHistoric"
    assert [request.target for request in requests if "Historic" in request.target] == [
        "/partitions/group/otcMarket/name/weeklySummaryHistoric"
    ]


def test_the_latest_weeks_need_no_historic_list_unless_the_current_one_has_too_few(ask):
    today = MONDAY + timedelta(days=37)  # two days after T2 and OTCE were published
    weeks = [(MONDAY - timedelta(weeks=n)).isoformat() for n in range(4)]
    listed = [(week, tier) for week in weeks for tier in ("T1", "T2", "OTCE")]
    published = {"weeklySummary": listed, "weeklySummaryHistoric": [(OLD.isoformat(), "T1")]}
    api, requests = ask(Finra([], published=published))
    assert set(published_lately(api, 3, today=today)) >= set(listed[:9])
    assert len(requests) == 1
    assert (OLD.isoformat(), "T1") in published_lately(api, 10**9, today=today)
    assert len(requests) == 2


def test_field_names_in_lower_case_are_read_and_values_stay_as_they_are(ask):
    def in_lower_case(reply):
        header, _, lines = reply.body.partition(b"\n")
        more = b"\n".join(line + b"|2025-11-10" for line in lines.split(b"\n"))
        return Reply(200, reply.headers, header.lower() + b"|historicalweek\n" + more)

    rows = [record("EP$C"), record("ep$c"), record("AbC", marketParticipantName="McNAME Ats")]
    api, _ = ask(Finra(rows, published=HISTORIC_ONLY, spoil=on_pages(in_lower_case)))
    checked = audited_week(
        build_parts(fetched(api)), week_start=MONDAY, tier=TIER, record_total=3, max_reject_ratio=0
    )
    assert checked.rows.select("symbol", "participant_name", "mpid").rows() == [
        ("AbC", "McNAME Ats", "XATS"),
        ("EP$C", "XATS, LLC", "XATS"),
        ("ep$c", "XATS, LLC", "XATS"),
    ]


def test_one_request_suffices_if_one_dataset_reaches_back(ask):
    published = {
        "weeklySummary": [("2025-11-03", "T1"), ("2025-11-10", "T1")],
        "weeklySummaryHistoric": [("2021-01-04", "OTCE")],
    }
    api, requests = ask(Finra([], published=published))
    assert list(api.published(since=date(2025, 11, 4))) == [("2025-11-10", "T1")]
    assert len(requests) == 1
    assert ("2021-01-04", "OTCE") in api.published(since=date(2021, 1, 1))
    assert len(requests) == 2


SINCE, UNTIL = date(2026, 2, 2), date(2026, 3, 2)
WEEKS = [TierWeek("T1", MONDAY + timedelta(weeks=number)) for number in range(-2, 10)]
LISTED = {
    "weeklySummary": [(week.week_start.isoformat(), week.tier) for week in WEEKS],
    "weeklySummaryHistoric": [],
}


def updated(week: TierWeek, day: str, count: int = 1) -> list[dict[str, object]]:
    start = week.week_start.isoformat()
    return [
        record(f"S{number}", weekStartDate=start, lastUpdateDate=day) for number in range(count)
    ]


def test_the_weeks_that_finra_updated_between_two_days_are_found_by_one_request(ask):
    rows = [
        *updated(WEEKS[0], "2026-02-01"),
        *updated(WEEKS[1], "2026-02-02", 3),
        *updated(WEEKS[2], "2026-03-02"),
        *updated(WEEKS[3], "2026-03-03"),
    ]
    api, requests = ask(Finra(rows, published=LISTED))
    assert list(api.maybe_changed(WEEKS[:6], since=SINCE, until=UNTIL)) == WEEKS[1:3]
    assert body_of(requests[-1]) == {
        "fields": ["weekStartDate"],
        "compareFilters": [
            {"fieldName": "tierIdentifier", "fieldValue": "T1", "compareType": "EQUAL"},
            {"fieldName": "weekStartDate", "fieldValue": "2026-01-12", "compareType": "LESSER"},
        ],
        "dateRangeFilters": [
            {"fieldName": "lastUpdateDate", "startDate": "2026-02-02", "endDate": "2026-03-02"}
        ],
        "limit": 5000,
        "offset": 0,
    }
    assert len(requests) == 2


def test_weeks_that_came_out_since_then_are_returned_unseen_and_others_not_at_all(ask):
    api, _ = ask(Finra([], published=LISTED))
    assert list(api.maybe_changed(WEEKS[5:], since=SINCE, until=UNTIL)) == WEEKS[11:]
    elsewhere = [TierWeek("T2", MONDAY), TierWeek("T1", MONDAY - timedelta(weeks=80))]
    assert list(api.maybe_changed(elsewhere, since=SINCE, until=UNTIL)) == []


def test_an_answer_of_more_than_a_page_leaves_every_week_of_the_tier_in_doubt(ask):
    api, requests = ask(Finra(updated(WEEKS[1], "2026-02-20", 5001), published=LISTED))
    assert list(api.maybe_changed(WEEKS[:3], since=SINCE, until=UNTIL)) == WEEKS[:3]
    assert len(requests) == 2


def test_an_update_of_a_week_that_finra_does_not_list_is_not_passed_over(ask):
    rows = [{**record("AAA"), "weekStartDate": "2025-11-11", "lastUpdateDate": "2026-02-20"}]
    api, _ = ask(Finra(rows, published=LISTED))
    with pytest.raises(SourceError, match="cannot be used") as refused:
        api.maybe_changed(WEEKS[:3], since=SINCE, until=UNTIL)
    assert refused.value.expected == "a weekStartDate that /partitions lists, in each record"


def test_the_state_of_a_week_is_its_count_and_its_newest_change(ask):
    rows = [record("AAA"), record("BBB", lastUpdateDate="2026-02-02"), record("CCC")]
    api, _ = ask(Finra(rows))
    version = api.version(WEEK_OF_TIER)
    assert version.text == "weeklySummary: 3 records, updated 2026-02-02"
    assert (version.record_total, version.scope) == (3, {})


def test_the_states_of_many_weeks_are_asked_for_at_once_and_the_list_of_weeks_once(ask):
    api, requests = ask(Finra(records(2)))
    week = TierWeek(TIER, MONDAY)
    later = MONDAY + timedelta(days=7)
    unpublished = TierWeek(TIER, later)
    versions, refusals = versions_of(api, [*[week] * 8, unpublished])
    assert versions == {week.key: "weeklySummary: 2 records, updated 2025-12-01"}
    assert {key: error.what for key, error in refusals.items()} == {
        unpublished.key: f"FINRA has not published {TIER}, week {later}, or has it no more"
    }
    assert [request.method for request in requests].count("GET") == 1  # the present dataset's list


# Pages


def test_pages_go_by_record_total_and_by_the_rows_received(ask):
    one = len("|".join(map(str, record("S000000").values()))) + 1
    api, requests = ask(Finra(records(12_003), page_bytes=one * 3000))
    captures = fetched(api)
    assert rows_of(captures) == [f"S{n:06}" for n in range(12_003)]
    assert [capture.row_count for capture in captures] == [3000, 2000, 3000, 2000, 2003]
    requested = sorted(
        (body_of(page)["offset"], body_of(page)["limit"]) for page in pages(requests)
    )
    assert requested == [(0, 5000), (3000, 2000), (5000, 5000), (8000, 2000), (10_000, 2003)]


@pytest.mark.slow
def test_pages_are_asked_for_side_by_side(ask):
    together = threading.Barrier(4)

    def wait_for_others(request, reply):
        if is_page(request):
            together.wait(timeout=20)
        return reply

    api, _ = ask(Finra(records(20_000), spoil=wait_for_others))
    assert len(fetched(api)) == 4


def test_pages_stand_in_the_order_of_the_rows_however_they_come(ask):
    last_is_out = threading.Event()

    def hold_the_first(request, reply):
        if is_page(request):
            if body_of(request)["offset"] == 0:
                last_is_out.wait(timeout=20)
            elif body_of(request)["offset"] == 10_000:
                last_is_out.set()
        return reply

    kept = []
    api, _ = ask(Finra(records(10_005), spoil=hold_the_first))
    captures = fetched(api, kept)
    assert rows_of(captures) == [f"S{n:06}" for n in range(10_005)]
    assert kept == list(captures)


def test_a_page_is_kept_with_its_question_and_what_finra_says_of_it(ask, tmp_path):
    api, requests = ask(Finra(records(2)))
    [capture] = fetched(api)
    one = capture
    assert one.url == f"http://{requests[0].headers['host']}{CURRENT_PATH}"
    assert one.request == body_of(pages(requests)[0])
    assert one.response_headers == {
        "content-type": "text/plain",
        "finra-api-request-id": "id-0",
        "record-limit": "2",
        "record-offset": "0",
        "record-total": "2",
        "total-records-on-page": "2",
    }
    assert (one.http_status, one.row_count, one.fetched_at, one.market) == (200, 2, NOON, None)
    captures = Captures(FolderStore(tmp_path / "artifacts"))
    [[part]] = captures.pieces([capture.without_body()])
    assert part.body == one.body


def test_more_records_than_can_be_paged_to_and_not_sorted_are_refused_before_any_page(ask):
    def claim(request, reply):
        if request.method == "POST":
            return Reply(200, reply.headers | {"Record-Total": "505001"}, reply.body)
        return reply

    api, requests = ask(Finra(records(1), published=HISTORIC_ONLY, spoil=claim))
    with pytest.raises(SourceError, match="more records than FINRA lets one page to") as refusal:
        fetched(api)
    assert (refusal.value.expected, refusal.value.found) == (
        "at most 505000",
        "Record-Total 505001",
    )
    assert len(probes(requests)) == 1
    assert pages(requests) == []


# A source that moves


def moving(moves):
    """Have FINRA publish one more row after each of the first ``moves`` pages."""
    finra = Finra(records(3))

    def move(request, reply):
        nonlocal moves
        if is_page(request) and moves:
            moves -= 1
            finra.rows = records(len(finra.rows) + 1)
        return reply

    finra.spoil = move
    return finra


def test_a_source_that_moves_while_its_pages_are_read_is_noticed(ask):
    api, _ = ask(moving(1))
    kept = []
    with pytest.raises(MovedError) as moved:
        fetched(api, kept)
    assert (moved.value.expected, moved.value.found) == (
        "weeklySummary: 3 records, updated 2025-12-01",
        "weeklySummary: 4 records, updated 2025-12-01",
    )
    assert rows_of(kept) == ["S000000", "S000001", "S000002"]
    assert len(fetched(api)) == 1


def test_a_source_that_moved_between_the_probe_and_a_page_is_noticed_by_the_page(ask):
    finra = Finra(records(3))
    api, _ = ask(finra)
    version = api.version(WEEK_OF_TIER)
    finra.rows = records(4)
    with pytest.raises(MovedError) as moved:
        api.extract_version(WEEK_OF_TIER, version, [])
    assert (moved.value.expected, moved.value.found) == ("Record-Total 3", "Record-Total 4")
    assert isinstance(moved.value, TransientError)


def test_new_dates_alone_are_a_move_too(ask):
    finra = Finra(records(3))
    api, _ = ask(finra)
    version = api.version(WEEK_OF_TIER)
    finra.rows = [record(f"S{n:06}", lastUpdateDate="2026-02-02") for n in range(3)]
    with pytest.raises(MovedError, match="the source changed while it was read"):
        api.extract_version(WEEK_OF_TIER, version, [])


# Answers that cannot be used


def on_pages(change):
    return lambda request, reply: change(reply) if is_page(request) else reply


def on_probes(change):
    return lambda request, reply: (
        change(reply) if request.method == "POST" and not is_page(request) else reply
    )


def test_a_page_that_was_cut_short_is_refused_and_kept(ask):
    def cut(reply):
        return Reply(200, reply.headers, reply.body.rpartition(b"\n")[0])

    kept = []
    api, _ = ask(Finra(records(3), spoil=on_pages(cut)))
    with pytest.raises(TruncatedResponseError, match="a page was cut short") as refusal:
        fetched(api, kept)
    assert refusal.value.is_retryable
    assert refusal.value.expected == "Total-Records-On-Page 3"
    assert refusal.value.found == f"2 rows in {len(kept[0].body)} bytes"
    assert len(kept) == 1


@pytest.mark.parametrize("said", ["5,000", "three", "-1"])
def test_a_number_of_rows_that_is_none_is_refused(ask, said):
    api, _ = ask(
        Finra(
            records(3),
            spoil=on_pages(
                lambda reply: Reply(
                    200, reply.headers | {"Total-Records-On-Page": said}, reply.body
                )
            ),
        )
    )
    with pytest.raises(TruncatedResponseError, match="a page was cut short"):
        fetched(api)


def claim_total(total):
    def claim(request, reply):
        if request.method == "POST" and "Record-Total" in reply.headers:
            return Reply(reply.status, reply.headers | {"Record-Total": str(total)}, reply.body)
        return reply

    return claim


@pytest.mark.parametrize("empty", [Reply(204), Reply(200, {"Total-Records-On-Page": " "}, b"[]")])
def test_a_record_total_that_is_too_high_is_a_truncated_answer(ask, empty):
    claim = claim_total(5)

    def spoil(request, reply):
        if is_page(request) and body_of(request)["offset"] >= 3:
            reply = Reply(empty.status, reply.headers | empty.headers, empty.body)
        return claim(request, reply)

    api, _ = ask(Finra(records(3), spoil=spoil))
    with pytest.raises(TruncatedResponseError, match="ended before all records came") as refusal:
        fetched(api)
    assert (refusal.value.expected, refusal.value.found) == (
        "Record-Total 5",
        "no record at offset 3",
    )


def test_rows_beyond_a_record_total_that_is_too_low_are_counted_and_hold_the_week_back(ask):
    finra = Finra(records(3))
    claim = claim_total(2)

    def give_all(request, reply):
        if is_page(request):
            requested = body_of(request) | {"limit": 5000}
            whole = json.dumps(requested).encode()
            request = type(request)(
                request.method, request.target, request.headers, whole, request.arrived
            )
            reply = finra.answer(request)
        return claim(request, reply)

    finra.spoil = give_all
    api, _ = ask(finra)
    captures = fetched(api)
    assert rows_of(captures) == ["S000000", "S000001", "S000002"]
    checked = audited_week(
        build_parts(captures), week_start=MONDAY, tier=TIER, record_total=2, max_reject_ratio=0
    )
    audit = checked.audits[0]
    assert (audit.name, audit.outcome, audit.expected, audit.found) == (
        "has_all_rows_of_record_total",
        "failed",
        "Record-Total 2",
        "3 rows",
    )


@pytest.mark.parametrize("on", [on_pages, on_probes])
@pytest.mark.parametrize("total", [None, "", "many", "9" * 5000])
def test_an_answer_without_a_record_total_is_refused(ask, on, total):
    def drop(reply):
        headers = {name: value for name, value in reply.headers.items() if name != "Record-Total"}
        return Reply(200, headers | ({} if total is None else {"Record-Total": total}), reply.body)

    api, _ = ask(Finra(records(3), spoil=on(drop)))
    with pytest.raises(SourceError, match="has no count of records") as refusal:
        fetched(api)
    assert refusal.value.found == f"Record-Total {(total or '')[:60]!r}"
    assert not refusal.value.is_retryable


UNUSABLE = {
    "html": (Reply(200, {"Record-Total": "3"}, HTML), SourceError),
    "html_403": (Reply(403, {"Content-Type": "text/html"}, b"\n " + HTML), SourceError),
    "500_in_the_body": (
        Reply(200, {"Record-Total": "3"}, b'{"statusCode": 500, "message": "Internal"}'),
        TransientError,
    ),
    "404_in_the_body": (
        Reply(200, {"Record-Total": "3"}, b'{"statusCode": 404, "message": "None"}'),
        SourceError,
    ),
    "400": (Reply(400, {}, b'{"statusCode": 400, "message": "Sort"}'), SourceError),
    "redirect": (Reply(302, {"Location": "https://me:pw@elsewhere/?token=x"}), SourceError),
    "gzip": (
        Reply(200, {"Record-Total": "3", "Content-Encoding": "gzip"}, b"\x1f\x8b\x08 garbage"),
        SourceError,
    ),
    "gzip_unsaid": (Reply(200, {"Record-Total": "3"}, b"\x1f\x8b\x08\n\n\n"), SourceError),
    "nested": (Reply(200, {"Record-Total": "3"}, b"[" * 100_000), SourceError),
    "nan": (Reply(200, {"Record-Total": "3"}, b'[{"lastUpdateDate": NaN}]'), SourceError),
}
COMPRESSED = r"HTTP 200, compressed \(gzip\) although that was not requested: \\x1f"
FOUND = {
    "redirect": r"HTTP 302, a redirect to https://elsewhere/\?token=\*\*\*, which is not ",
    "gzip": COMPRESSED,
    "gzip_unsaid": COMPRESSED,
}


@pytest.mark.parametrize("on", [on_pages, on_probes])
@pytest.mark.parametrize("name", UNUSABLE)
def test_an_answer_that_is_no_data_is_refused_and_quoted(ask, on, name):
    reply, kind = UNUSABLE[name]
    kept = []
    api, _ = ask(Finra(records(3), spoil=on(lambda _: reply)))
    with pytest.raises(kind, match="FINRA's answer cannot be used") as refusal:
        fetched(api, kept)
    assert type(refusal.value) is kind
    assert re.match(FOUND.get(name, f"HTTP {reply.status}: "), refusal.value.found)
    assert escape_bytes(reply.body.strip())[:10] in refusal.value.found
    assert refusal.value.context["url"].endswith(CURRENT_PATH)
    assert kept == [] or kept[0].body == reply.body
    assert (reply.status == 200 and on is on_pages) == bool(kept)


def test_what_came_in_another_format_than_asked_for_is_refused(ask):
    rows = as_json([record("AAA")], {"Record-Total": "3"})
    api, _ = ask(Finra(records(3), spoil=on_pages(lambda _: rows)))
    with pytest.raises(SourceError, match="cannot be used") as refusal:
        fetched(api)
    assert refusal.value.expected == "delimited text"


@pytest.mark.parametrize(
    "body",
    [
        *(b"[1]", b"{}", b"a|b\n1|2\n", b'[{"a": 1}', b"\xff"),
        *(b'[{"a": "\\u0000"}]', b'[{"a\\udc00": 1}]', b'[{"a": "\xed\xa0\x80"}]'),
    ],
)
def test_a_probe_whose_answer_is_no_list_of_records_is_refused(ask, body):
    broken = Reply(200, {"Record-Total": "3"}, body)
    api, _ = ask(Finra(records(3), spoil=on_probes(lambda _: broken)))
    with pytest.raises(SourceError):
        api.version(WEEK_OF_TIER)


@pytest.mark.parametrize(
    "body",
    [HTML, b"[]", b"{}", b'{"availablePartitions": 1}', b'{"availablePartitions": [{"x": 1}]}',
     b'{"availablePartitions": [{"partitions": ["2025-11-10"]}]}', b""],
)  # fmt: skip
def test_a_list_of_partitions_that_is_none_is_refused(ask, body):
    api, _ = ask(lambda _: Reply(200, {}, body))
    with pytest.raises(SourceError, match="cannot be used") as refusal:
        api.published()
    assert refusal.value.expected == '{"availablePartitions": [{"partitions": …}]}'


def test_a_gateway_timeout_is_asked_again_and_ends_as_transient(ask):
    left = [Reply(504, {"Content-Type": "text/html"}, HTML)]

    def once(request, reply):
        return left.pop() if is_page(request) and left else reply

    api, _ = ask(Finra(records(3), spoil=once))
    assert len(fetched(api)) == 1
    api, _ = ask(Finra(records(3), spoil=on_pages(lambda _: Reply(504, {}, HTML))))
    with pytest.raises(TransientError, match="did not answer"):
        fetched(api)


ASKED_AGAIN = {
    "html": Reply(200, {"Record-Total": "3"}, HTML),
    "html_after_blanks": Reply(200, {}, b"\r\n\t " + HTML),
    "502_in_the_body": Reply(200, {}, b'{"statusCode": 502, "message": "Bad Gateway"}'),
    "500_in_the_body_as_text": Reply(200, {}, b' {"statusCode": "500"}'),
    "redirect": Reply(302, {"Location": "http://127.0.0.1:9/elsewhere"}),
    "redirect_for_good": Reply(308, {"Location": "/elsewhere"}),
    "anonymous_401": Reply(401, {}, b'{"message": "try again later"}'),
    "html_403": Reply(403, {"Content-Type": "text/html"}, HTML),
}
ONCE = {
    "404_in_the_body": Reply(200, {}, b'{"statusCode": 404}'),
    "400": Reply(400, {}, HTML),
    "404": Reply(404, {}, HTML),
    "json_403": Reply(403, {}, b'{"message": "no"}'),
}


def in_turn(*replies):
    """Give these replies to the first requests, and then what FINRA answers."""
    left = list(replies)
    return lambda request, reply: left.pop(0) if left else reply


@pytest.mark.slow_after_first
@pytest.mark.parametrize("reply", ASKED_AGAIN.values(), ids=ASKED_AGAIN)
@pytest.mark.parametrize("place", range(4))
def test_an_answer_that_comes_once_and_passes_is_asked_for_again(ask, reply, place):
    def spoil(request, usual):
        return reply if len(requests) == place + 1 else usual

    api, requests = ask(Finra(records(3), spoil=spoil))
    assert rows_of(fetched(api)) == ["S000000", "S000001", "S000002"]
    paths = [(request.method, request.target, request.body) for request in requests]
    assert paths[place] == paths[place + 1]
    assert len(requests) == 5


@pytest.mark.parametrize("reply", [*ASKED_AGAIN.values(), *ONCE.values()])
def test_an_answer_that_stays_as_it_is_is_refused_after_as_many_attempts_as_a_5xx(ask, reply):
    api, requests = ask(Finra(records(3), spoil=on_pages(lambda _: reply)))
    kept = []
    with pytest.raises((SourceError, TransientError, ConfigurationError)):
        fetched(api, kept)
    assert len(pages(requests)) == (2 if reply in ASKED_AGAIN.values() else 1)
    assert len(kept) == (reply.status == 200)


def test_a_redirect_is_not_followed_to_another_host_whichever_attempt_it_answers(ask, serve_other):
    url, seen = serve_other
    api, requests = ask(
        Finra(records(3), client=ME, spoil=lambda *_: Reply(302, {"Location": f"{url}/x"})),
        credentials=ME,
    )
    with pytest.raises(SourceError, match="token service") as refusal:
        api.published()
    assert len(requests) == 2
    assert seen == []
    assert SECRET not in whole_text(refusal.value)


@pytest.mark.parametrize("reply", [ASKED_AGAIN["html"], ASKED_AGAIN["redirect"]])
def test_a_token_is_asked_for_again_after_an_answer_that_passes(ask, reply):
    api, requests = ask(Finra(records(3), client=ME, spoil=in_turn(reply)), credentials=ME)
    assert len(fetched(api)) == 1
    assert len(tokens_asked(requests)) == 2


def test_with_credentials_a_401_is_answered_by_a_new_token_and_not_by_patience(ask):
    finra = Finra(records(3), client=ME)
    no = Reply(401, {}, b'{"message":"no"}')
    finra.spoil = lambda request, reply: reply if request.target.startswith(TOKEN_PATH) else no
    api, requests = ask(finra, credentials=ME)
    with pytest.raises(ConfigurationError) as refusal:
        api.published()
    assert [request.target.startswith(TOKEN_PATH) for request in requests] == [True, False] * 2
    assert "FINRA_CLIENT_ID" in refusal.value.remedy


def test_a_failed_page_ends_the_fetch_and_what_came_is_kept_in_order(ask):
    last_is_asked = threading.Event()

    def refuse_one(request, reply):
        offset = body_of(request)["offset"] if is_page(request) else None
        if offset == 10_000:
            last_is_asked.set()
        if offset == 5000:
            last_is_asked.wait(timeout=20)
            return Reply(400, {}, b"no")
        return reply

    kept = []
    api, _ = ask(Finra(records(15_000), spoil=refuse_one), concurrent_requests=3)
    with pytest.raises(SourceError):
        fetched(api, kept)
    assert [capture.request["offset"] for capture in kept] == [0, 10_000]


# Weeks that are not there


def test_a_week_that_is_not_published_is_refused_and_the_newest_one_named(ask):
    published = {
        "weeklySummary": [("2025-11-03", TIER), ("2025-10-27", TIER), ("2025-11-10", "T2")],
        "weeklySummaryHistoric": [],
    }
    api, requests = ask(Finra([], published=published))
    with pytest.raises(SourceError, match="has not published T1, week 2025-11-10") as refusal:
        api.version(WEEK_OF_TIER)
    assert refusal.value.expected.endswith("the newest of T1 is 2025-11-03")
    assert probes(requests) == []


@pytest.mark.parametrize(
    "empty",
    [Reply(204), Reply(200, {"Record-Total": "0", "Total-Records-On-Page": ""}, b"[]")],
)
def test_a_published_week_without_a_record_is_refused(ask, empty):
    api, _ = ask(Finra([], spoil=on_probes(lambda _: empty)))
    with pytest.raises(SourceError, match="weeklySummary is empty for T1, week 2025-11-10") as no:
        api.version(WEEK_OF_TIER)
    assert no.value.found == f"HTTP {empty.status}, no record"


def test_rows_of_another_week_are_left_to_the_audit(ask):
    def strange(reply):
        return Reply(200, reply.headers, reply.body.replace(b"2025-11-10", b"2025-11-03"))

    api, _ = ask(Finra(records(3), spoil=on_pages(strange)))
    checked = audited_week(
        build_parts(fetched(api)), week_start=MONDAY, tier=TIER, record_total=3, max_reject_ratio=0
    )
    assert [audit.name for audit in checked.audits if audit.blocks][:1] == [
        "holds_only_its_week_and_tier"
    ]


def test_a_column_that_finra_no_longer_has_is_refused_by_the_contract(ask):
    def without_mpid(reply):
        return Reply(200, reply.headers, reply.body.replace(b"|MPID|", b"|venue|"))

    api, _ = ask(Finra(records(3), spoil=on_pages(without_mpid)))
    parts = build_parts(fetched(api))
    with pytest.raises(ContractError, match="lacks MPID"):
        audited_week(parts, week_start=MONDAY, tier=TIER, record_total=3, max_reject_ratio=0)


# Access

ME = ("me", SECRET)


def tokens_asked(requests):
    return [request for request in requests if request.target.startswith(TOKEN_PATH)]


@pytest.mark.slow
def test_a_token_is_had_once_and_sent_with_each_request(ask):
    api, requests = ask(Finra(records(20_000), client=ME), credentials=ME)
    fetched(api)
    assert len(tokens_asked(requests)) == 1
    assert {
        request.headers["authorization"]
        for request in requests
        if request not in tokens_asked(requests)
    } == {"Bearer t0ken-0"}


def test_a_token_of_the_settings_is_sent_in_the_place_of_one_that_is_asked_for(ask):
    finra = Finra(records(3), client=ME)
    finra.tokens.append("given")
    api, requests = ask(finra, credentials=ME, api_key="given")
    fetched(api)
    assert not tokens_asked(requests)
    finra.tokens.append("an0ther")
    with pytest.raises(ConfigurationError, match="refuses access with HTTP 401") as refusal:
        fetched(api)
    assert not tokens_asked(requests)
    assert "FINRA_ACCESS_TOKEN" in refusal.value.remedy


@pytest.mark.slow
def test_a_token_that_has_run_out_is_renewed_once_by_all_pages_together(ask):
    finra = Finra(records(20_000), client=ME)
    api, requests = ask(finra, credentials=ME)
    version = api.version(WEEK_OF_TIER)
    finra.tokens.append("an0ther")  # the server forgets the one that it gave
    assert len(api.extract_version(WEEK_OF_TIER, version, [])) == 4
    assert len(tokens_asked(requests)) == 2


def test_a_token_that_is_refused_twice_is_a_wrong_setting(ask):
    finra = Finra(records(3), client=ME)
    finra.spoil = lambda request, reply: (
        reply if request.target.startswith(TOKEN_PATH) else Reply(401, {}, b'{"message":"no"}')
    )
    api, requests = ask(finra, credentials=ME)
    with pytest.raises(ConfigurationError, match="FINRA refuses access with HTTP 401") as refusal:
        fetched(api)
    assert (len(tokens_asked(requests)), len(requests)) == (2, 4)
    assert refusal.value.found == 'HTTP 401: {"message":"no"}'


@pytest.mark.parametrize(("status", "attempts"), [(401, 2), (403, 1)])
def test_without_credentials_a_refusal_speaks_of_none(ask, status, attempts):
    api, requests = ask(Finra([], spoil=lambda *_: Reply(status, {}, b'{"message":"no"}')))
    with pytest.raises(ConfigurationError, match=f"refuses access with HTTP {status}") as refusal:
        api.published()
    assert len(requests) == attempts
    assert "FINRA_CLIENT" not in str(refusal.value)
    assert "without credentials" in refusal.value.expected


def test_a_client_that_finra_does_not_know_is_a_wrong_setting_without_its_secret(ask):
    api, requests = ask(Finra(records(3), client=("me", "an0ther")), credentials=ME)
    with pytest.raises(ConfigurationError, match="refuses the client me with HTTP 401") as refusal:
        api.published()
    assert len(requests) == 1
    assert SECRET not in whole_text(refusal.value)


@pytest.mark.parametrize(
    "body", [b"", HTML, b"[]", b"{}", b'{"access_token": null}', b'{"access_token": ""}']
)
def test_a_token_service_that_gives_no_token_is_named(ask, body):
    api, _ = ask(lambda _: Reply(200, {}, body), credentials=ME)
    with pytest.raises(SourceError, match="answered without a token") as refusal:
        api.published()
    assert refusal.value.found == f"HTTP 200, {len(body)} bytes"
    assert SECRET not in whole_text(refusal.value)


@pytest.mark.parametrize("status", [200, 400, 401, 403])
def test_a_source_that_sends_our_token_back_puts_it_into_no_error(ask, status):
    finra = Finra(records(3), client=ME)

    def echo(request, reply):
        if request.target.startswith(TOKEN_PATH):
            return reply
        echoed = json.dumps({"you sent": request.headers["authorization"], "\x1b": "\x1b[2J"})
        return Reply(status, {}, echoed.encode())

    finra.spoil = echo
    api, _ = ask(finra, credentials=ME)
    with pytest.raises((SourceError, ConfigurationError)) as refusal:
        api.published()
    message = whole_text(refusal.value)
    assert not re.search("t0ken-|" + SECRET, message)
    assert "Bearer ***" in refusal.value.found
    assert refusal.value.found.isascii()
    assert refusal.value.found.isprintable()


def test_the_fields_are_those_that_the_metadata_lists(ask):
    api, requests = ask(Finra([], fields={"MPID": "String", "firmCRDNumber": "Number"}))
    assert api.list_fields() == {"MPID": "String", "firmCRDNumber": "Number"}
    assert [request.target for request in requests] == [
        "/metadata/group/otcMarket/name/weeklySummary"
    ]


def on_metadata(reply):
    return lambda request, usual: reply if request.target.startswith("/metadata") else usual


def test_fields_that_are_closed_to_anonymous_callers_are_none_and_stop_no_load(ask):
    closed = Reply(401, {}, b'{"message": "Unauthorized"}')
    api, _ = ask(Finra(records(3), spoil=on_metadata(closed)))
    assert api.list_fields() is None
    assert len(fetched(api)) == 1
    known = Finra(records(3), client=ME, spoil=on_metadata(closed))
    api, _ = ask(known, credentials=ME)
    with pytest.raises(ConfigurationError, match="refuses access with HTTP 401"):
        api.list_fields()


@pytest.mark.parametrize(
    "body",
    [
        HTML,
        b"",
        b"[]",
        b'{"fields": []}',
        b'{"fields": {"MPID": "String"}}',
        b'{"fields": [{"name": "MPID"}]}',
        b'{"fields": [{"name": "MPID", "type": 7}]}',
        b'{"fields": [{"name": "", "type": "String"}]}',
        b'{"fields": [{"name": "MPID", "type": "String"}, {"name": "MPID", "type": "Date"}]}',
    ],
)
def test_metadata_that_lists_no_fields_is_refused_with_what_came(ask, body):
    api, _ = ask(Finra([], spoil=lambda _, reply: Reply(200, {}, body)))
    with pytest.raises(SourceError, match=r"FINRA's answer cannot be used") as refused:
        api.list_fields()
    assert refused.value.expected.startswith('{"fields": [{"name": ')
    assert "HTTP 200" in refused.value.found
    assert "/metadata/group/otcMarket/name/weeklySummary" in refused.value.context["url"]
