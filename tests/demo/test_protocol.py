"""The wire: what FINRA's Query API answers to what."""

import csv
import io
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from tests.demo.program import Demo, StartDemo, equal, partition

CALM = partition("2026-01-26", "T1")  # fifth back: restated later, without faults today
FIELDS = [
    "weekStartDate",
    "tierIdentifier",
    "tierDescription",
    "issueSymbolIdentifier",
    "issueName",
    "firmCRDNumber",
    "MPID",
    "marketParticipantName",
    "summaryStartDate",
    "totalWeeklyTradeCount",
    "totalWeeklyShareQuantity",
    "totalNotionalSum",
    "productTypeCode",
    "summaryTypeCode",
    "initialPublishedDate",
    "lastUpdateDate",
    "lastReportedDate",
]


def test_health_names_the_source(demo: Demo):
    assert demo.client.get("/health").json() == {"status": "ok", "source": "demo"}


def test_the_default_answer_is_quoted_text_under_a_header_in_the_documented_order(demo: Demo):
    answer = demo.data(compareFilters=CALM, limit=2)
    assert answer.headers["Content-Type"].startswith("text/plain")
    header, first, _ = answer.text.splitlines()
    assert header == ",".join(f'"{field}"' for field in FIELDS)
    assert first.startswith('"2026-01-26","T1","NMS Tier 1",')


@pytest.mark.parametrize("delimiter", ["|", "\t"])
def test_text_can_be_unquoted_and_otherwise_delimited(demo: Demo, delimiter: str):
    query = {"compareFilters": CALM, "limit": 50, "fields": FIELDS[:5]}
    quoted = demo.data(**query).text
    plain = demo.data(**query, delimiter=delimiter, quoteValues=False).text
    assert '"' not in plain
    assert [line.split(delimiter) for line in plain.splitlines()] == list(
        csv.reader(io.StringIO(quoted))
    )


def test_json_has_numbers_for_counts_and_null_for_nothing(demo: Demo):
    filters = [*CALM, equal("summaryTypeCode", "OTC_W_SMBL_FIRM")]
    (record,) = demo.data(json=True, compareFilters=filters, limit=1).json()
    assert list(record) == FIELDS
    kinds = {name: type(record[name]) for name in ("firmCRDNumber", "totalWeeklyShareQuantity")}
    assert kinds == {"firmCRDNumber": int, "totalWeeklyShareQuantity": int}
    assert record["MPID"] is None


def test_notional_has_at_most_two_decimals(demo: Demo):
    values = [record["totalNotionalSum"] for record in demo.records(CALM)]
    assert values == [round(value, 2) for value in values]


def test_weeks_before_the_field_was_introduced_have_no_notional(demo: Demo):
    old = demo.data("weeklySummaryHistoric", json=True, limit=500).json()
    assert {record["totalNotionalSum"] for record in old} == {None}


def test_headers_say_where_a_page_lies(demo: Demo):
    headers = demo.data(compareFilters=CALM, limit=100, offset=40).headers
    total = int(headers["Record-Total"])
    assert total > 300
    assert headers["Record-Offset"] == "40"
    assert headers["Record-Limit"] == headers["Total-Records-On-Page"] == "100"
    assert headers["Record-Max-Limit"] == "5000"
    assert headers["FINRA-api-request-id"]


def test_pages_hold_every_record_once_in_a_stable_order_that_no_key_explains(demo: Demo):
    lines = []
    total = int(demo.data(compareFilters=CALM).headers["Record-Total"])
    for offset in range(0, total, 70):
        lines += demo.data(compareFilters=CALM, limit=70, offset=offset).text.splitlines()[1:]
    whole = demo.data(compareFilters=CALM, limit=5000).text.splitlines()[1:]
    assert lines == whole
    assert len(set(lines)) == total
    for field in FIELDS:
        values = [str(record[field]) for record in demo.records(CALM)]
        assert len(set(values)) == 1 or values != sorted(values)


def test_a_limit_above_the_maximum_is_capped(demo: Demo):
    assert demo.data(compareFilters=CALM, limit=9999).headers["Record-Limit"] == "5000"


def test_the_default_limit_is_1000(demo: Demo):
    assert demo.data(compareFilters=CALM).headers["Record-Limit"] == "1000"


def test_a_query_without_filters_answers_the_oldest_partition(demo: Demo):
    answer = demo.data(json=True, limit=5000).json()
    found = {(record["weekStartDate"], record["tierIdentifier"]) for record in answer}
    assert found == {tuple(demo.partitions()[0])}


def test_filters_in_the_query_string_of_a_get_are_ignored(demo: Demo):
    answer = demo.client.get(
        "/data/group/otcMarket/name/weeklySummary",
        params={"limit": 3, "weekStartDate": "2026-01-26", "compareFilters": "[]"},
    )
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["weekStartDate"] for row in rows] == [demo.partitions()[0][0]] * 3


def test_nothing_found_is_204_as_text_and_an_empty_list_as_json(demo: Demo):
    filters = [*CALM, equal("issueSymbolIdentifier", "NOSUCH")]
    text, json = demo.data(compareFilters=filters), demo.data(json=True, compareFilters=filters)
    assert (text.status_code, text.content) == (204, b"")
    assert (json.status_code, json.json()) == (200, [])
    assert json.headers["Total-Records-On-Page"] == ""
    assert text.headers["Record-Total"] == json.headers["Record-Total"] == "0"


def test_a_week_that_is_not_published_is_empty(demo: Demo):
    assert demo.data(compareFilters=partition("2026-03-02", "T1")).status_code == 204


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Malformed JSON"),
        pytest.param(b"[" * 100_000, "Malformed JSON", id="too deep"),
        (b"[]", "must be a JSON object"),
        (b'{"fields": ["nope"]}', "Invalid field: nope"),
        (b'{"fields": "MPID"}', "fields must be a list"),
        (b'{"compareFilter": []}', "Unknown parameter: compareFilter"),
        (b'{"compareFilters": ["MPID"]}', "must hold objects"),
        (b'{"compareFilters": [{"fieldName": "MPID", "compareType": "LIKE"}]}', "compareType"),
        (b'{"compareFilters": [{"fieldName": "MPID", "compareType": "EQUAL"}]}', "Invalid value"),
        (b'{"domainFilters": [{"fieldName": "firmCRDNumber", "values": ["x"]}]}', "Invalid value"),
        (b'{"dateRangeFilters": [{"fieldName": "MPID", "startDate": "2026-01-01"}]}', "date field"),
        (
            b'{"dateRangeFilters": [{"fieldName": "weekStartDate", "startDate": "spring"}]}',
            "Invalid value for weekStartDate: 'spring'",
        ),
        (b'{"limit": 0}', "limit must be at least 1"),
        (b'{"limit": true}', "limit must be a whole number"),
        (b'{"offset": -1}', "offset must be a whole number"),
        (b'{"offset": 500001}', "maximum of 500000"),
        (b'{"delimiter": ";"}', "Invalid delimiter"),
        (b'{"quoteValues": "no"}', "quoteValues"),
        (b'{"sortFields": ["MPID"]}', "sortFields need EQUAL"),
    ],
)
def test_what_cannot_be_answered_is_400_with_a_reason(demo: Demo, body: bytes, message: str):
    answer = demo.client.post("/data/group/otcMarket/name/weeklySummary", content=body)
    assert answer.status_code == 400
    assert answer.json()["statusCode"] == 400
    assert message in answer.json()["message"]


def test_sorting_needs_both_partition_fields(demo: Demo):
    week, tier = CALM
    refused = demo.data(compareFilters=[week], sortFields=["-totalWeeklyShareQuantity"])
    assert refused.status_code == 400
    sorted_rows = demo.data(
        json=True, compareFilters=[week, tier], sortFields=["-totalWeeklyShareQuantity"]
    ).json()
    shares = [row["totalWeeklyShareQuantity"] for row in sorted_rows]
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(
    ("comparison", "keeps"),
    [
        ("EQUAL", lambda shares, pivot: shares == pivot),
        ("not_equal", lambda shares, pivot: shares != pivot),
        ("GREATER", lambda shares, pivot: shares > pivot),
        ("Lesser", lambda shares, pivot: shares < pivot),
        ("GTE", lambda shares, pivot: shares >= pivot),
        ("LTE", lambda shares, pivot: shares <= pivot),
    ],
)
def test_a_comparison_keeps_what_it_says(demo: Demo, comparison: str, keeps):
    every = [record["totalWeeklyShareQuantity"] for record in demo.records(CALM)]
    pivot = sorted(every)[len(every) // 2]
    requested = {
        "fieldName": "TOTALWEEKLYSHAREQUANTITY",
        "fieldValue": str(pivot),
        "compareType": comparison,
    }
    found = [record["totalWeeklyShareQuantity"] for record in demo.records([*CALM, requested])]
    assert found == [shares for shares in every if keeps(shares, pivot)]


def test_a_domain_filter_keeps_the_values_listed(demo: Demo):
    kinds = ["ATS_W_SMBL", "OTC_W_SMBL"]
    answer = demo.data(
        json=True,
        compareFilters=CALM,
        domainFilters=[{"fieldName": "summaryTypeCode", "values": kinds}],
        fields=["summarytypecode"],
    ).json()
    assert [list(record) for record in answer] == [["summaryTypeCode"]] * len(answer)
    assert {record["summaryTypeCode"] for record in answer} == set(kinds)


def test_a_date_range_over_all_weeks_finds_what_was_published_in_it(demo: Demo):
    answer = demo.data(
        json=True,
        dateRangeFilters=[
            {
                "fieldName": "lastUpdateDate",
                "startDate": "2026-03-10",
                "endDate": "2026-03-16 23:59:59.999",
            }
        ],
        fields=["weekStartDate", "tierIdentifier", "lastUpdateDate"],
        limit=5000,
    ).json()
    found = {(record["weekStartDate"], record["tierIdentifier"]) for record in answer}
    assert found >= {("2026-02-23", "T1"), ("2026-02-09", "T2"), ("2026-02-09", "OTCE")}
    assert all("2026-03-10" <= record["lastUpdateDate"] <= "2026-03-16" for record in answer)


def test_names_are_understood_in_any_case_and_answered_in_finras(demo: Demo):
    answer = demo.client.post(
        "/data/group/OTCMARKET/name/weeklysummary",
        json={"fields": ["mpid", "WEEKSTARTDATE"], "limit": 1},
    )
    assert answer.text.splitlines()[0] == '"MPID","weekStartDate"'


def test_an_unknown_dataset_is_404(demo: Demo):
    for path in ("data", "partitions", "metadata"):
        answer = demo.client.get(f"/{path}/group/otcMarket/name/nope")
        assert (answer.status_code, answer.json()["statusCode"]) == (404, 404)


def test_the_historic_dataset_adds_two_lower_case_fields(demo: Demo):
    week = "2024-02-05"
    records = demo.records(
        [equal("HistoricalWeek", week), equal("tierIdentifier", "T2")], "weeklySummaryHistoric"
    )
    assert list(records[0]) == [*FIELDS, "historicalweek", "historicalmonth"]
    found = {(record["weekStartDate"], record["historicalmonth"]) for record in records}
    assert found == {(week, "2024-02-01")}


def test_the_historic_dataset_filters_by_week_month_and_tier_only_and_never_sorts(demo: Demo):
    symbol = demo.data(
        "weeklySummaryHistoric", compareFilters=[equal("issueSymbolIdentifier", "NA")]
    )
    fixed = partition("2024-02-05", "T2")
    order = demo.data("weeklySummaryHistoric", compareFilters=fixed, sortFields=["MPID"])
    assert (symbol.status_code, order.status_code) == (400, 400)
    assert "cannot be filtered by issueSymbolIdentifier" in symbol.json()["message"]
    assert "cannot be sorted" in order.json()["message"]


def test_a_week_is_in_one_of_the_datasets_by_its_age(demo: Demo):
    recent, historic = demo.partitions(), demo.partitions("weeklySummaryHistoric")
    assert min(recent)[0] == "2025-03-17"  # 364 days before the 16th of March 2026
    assert max(recent)[0] == "2026-02-23"
    assert max(historic)[0] == "2025-03-10"
    assert min(historic)[0] == "2022-03-21"  # four years before
    assert {date.fromisoformat(week).weekday() for week, _ in recent + historic} == {0}


def test_metadata_lists_the_fields_and_their_types(demo: Demo):
    answer = demo.client.get("/metadata/group/otcMarket/name/weeklySummary").json()
    types = {field["name"]: field["type"] for field in answer["fields"]}
    assert list(types) == FIELDS
    assert types["weekStartDate"] == "Date"
    assert types["totalWeeklyShareQuantity"] == "Integer"
    assert answer["partitionFields"] == ["weekStartDate", "tierIdentifier"]


def test_client_credentials_give_a_token_that_opens_the_data(demo: Demo):
    path = "/fip/rest/ews/oauth2/access_token"
    by_query = demo.client.post(
        path, params={"grant_type": "client_credentials"}, auth=("demo", "demo-secret")
    )
    by_form = demo.client.post(
        path, data={"grant_type": "client_credentials"}, auth=("demo", "demo-secret")
    )
    for answer in (by_query, by_form):
        assert (answer.json()["token_type"], answer.json()["expires_in"]) == ("Bearer", 1800)
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        data = demo.client.get("/data/group/otcMarket/name/weeklySummary", headers=bearer)
        assert data.status_code == 200


@pytest.mark.parametrize("auth", [("demo", "wrong"), ("dämo", "demo-secret"), None])
def test_wrong_credentials_are_401(demo: Demo, auth):
    answer = demo.client.post(
        "/fip/rest/ews/oauth2/access_token",
        params={"grant_type": "client_credentials"},
        auth=auth,
    )
    assert (answer.status_code, answer.json()["statusCode"]) == (401, 401)


def test_an_authorization_that_is_not_ascii_is_401(demo: Demo):
    headers = {b"Authorization": "Basic dämo".encode("latin-1")}
    answer = demo.client.post("/fip/rest/ews/oauth2/access_token", headers=headers)
    assert answer.status_code == 401


@pytest.mark.parametrize("limit", ["9" * 5_000, "-1", "one"])
def test_a_limit_that_is_not_a_number_is_400(demo: Demo, limit):
    answer = demo.client.get(f"/data/group/otcMarket/name/weeklySummary?limit={limit}")
    assert answer.status_code == 400
    assert "limit must be a whole number" in answer.json()["message"]


def test_another_grant_type_is_400(demo: Demo):
    answer = demo.client.post("/fip/rest/ews/oauth2/access_token", auth=("demo", "demo-secret"))
    assert answer.status_code == 400


def test_an_unknown_token_is_401(demo: Demo):
    headers = {"Authorization": "Bearer unknown"}
    answer = demo.client.get("/data/group/otcMarket/name/weeklySummary", headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (
        401,
        "Invalid or expired access token",
    )


@pytest.mark.slow
def test_requests_above_the_rate_are_429_with_the_time_to_wait(start_demo: StartDemo):
    demo = start_demo(requests_per_second=3)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: demo.data(limit=1), range(24)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = answers[statuses.index(429)]
    assert refused.headers["Retry-After"] == "1"
    assert refused.json()["statusCode"] == 429


@pytest.mark.slow
def test_a_page_ends_at_3_mb_and_paging_by_what_came_still_finds_all(start_demo: StartDemo):
    demo = start_demo(rows_per_week=20_000)
    requested = partition("2024-02-05", "T1")
    first = demo.data("weeklySummaryHistoric", json=True, compareFilters=requested, limit=5000)
    assert len(first.content) <= 3_000_000
    assert len(first.json()) == int(first.headers["Total-Records-On-Page"]) < 5000
    records = demo.records(requested, "weeklySummaryHistoric")
    assert len(records) == int(first.headers["Record-Total"]) > 9_000
    assert len({tuple(record.values()) for record in records}) == len(records)
