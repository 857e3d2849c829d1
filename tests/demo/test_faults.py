"""Faults of the demo on purpose, each on its week counted back from the anchor."""

from collections import defaultdict

import pytest

from tests.demo.program import Demo, StartDemo, equal, partition


def place(demo: Demo, tier: str, number: int) -> list[dict[str, object]]:
    """Return the filters of the week that lies at ``number`` for ``tier``."""
    return partition(demo.weeks(tier)[number - 1], tier)


def differences(records: list[dict]) -> dict[tuple[str, str], int]:
    """Return by market and symbol how many shares the totals say more than the firm rows."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for record in records:
        market, kind = record["summaryTypeCode"].split("_W_")
        sign = {"SMBL": 1, "SMBL_FIRM": -1}.get(kind, 0)
        key = (market, record["issueSymbolIdentifier"])
        found[key] += sign * record["totalWeeklyShareQuantity"]
    return {key: shares for key, shares in found.items() if shares}


@pytest.mark.slow
def test_the_first_page_of_the_newest_t1_week_is_throttled_once(start_demo: StartDemo):
    demo = start_demo()
    requested = place(demo, "T1", 1)
    assert demo.data(compareFilters=requested, limit=1).status_code == 200  # a probe meets no fault
    refused = demo.data(compareFilters=requested, limit=5000)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert demo.data(compareFilters=requested, limit=5000).status_code == 200


@pytest.mark.slow
def test_a_page_of_the_second_t2_week_is_a_gateway_timeout_in_html_once(start_demo: StartDemo):
    demo = start_demo()
    requested = place(demo, "T2", 2)
    failed = demo.data(json=True, compareFilters=requested)
    assert failed.status_code == 504
    assert failed.headers["Content-Type"].startswith("text/html")
    assert "<html>" in failed.text
    assert demo.data(json=True, compareFilters=requested).status_code == 200


@pytest.mark.slow
def test_a_restart_neither_repeats_nor_moves_a_fault(start_demo: StartDemo):
    demo = start_demo()
    requested = place(demo, "T1", 1)
    timed_out = place(demo, "T2", 2)
    assert demo.data(compareFilters=requested).status_code == 429
    demo.stop()
    again = start_demo(clock_now="2026-03-30T15:00:00+00:00")  # two newer weeks are out
    assert again.data(compareFilters=requested).status_code == 200
    assert again.data(compareFilters=place(again, "T1", 1)).status_code == 200
    assert again.data(compareFilters=timed_out).status_code == 504


@pytest.mark.slow
def test_an_emptied_folder_starts_over(start_demo: StartDemo):
    demo = start_demo()
    requested = place(demo, "T1", 1)
    assert demo.data(compareFilters=requested).status_code == 429
    demo.stop()
    for path in (demo.state_dir / "demo").iterdir():
        path.unlink()
    assert start_demo().data(compareFilters=requested).status_code == 429


@pytest.mark.slow
def test_the_first_page_of_the_third_otc_week_is_always_short(demo: Demo):
    requested = place(demo, "OTCE", 3)
    first, again = (demo.data(compareFilters=requested, limit=100).headers for _ in range(2))
    assert first["Total-Records-On-Page"] == again["Total-Records-On-Page"] == "64"
    assert int(first["Record-Total"]) > 100
    second = demo.data(compareFilters=requested, limit=100, offset=64).headers
    assert second["Total-Records-On-Page"] == "100"
    assert len(demo.records(requested)) == int(first["Record-Total"])


@pytest.mark.parametrize(("tier", "number"), [("T1", 2), ("OTCE", 4)])
def test_two_weeks_hold_three_bad_rows_that_their_totals_count(demo: Demo, tier, number):
    records = demo.records(place(demo, tier, number))
    rows = [record for record in records if record["summaryTypeCode"].endswith("_W_SMBL_FIRM")]
    (blank,) = [row for row in rows if not row["issueSymbolIdentifier"]]
    assert not blank["issueName"]
    assert (blank["totalWeeklyShareQuantity"], blank["totalWeeklyTradeCount"]) == (1, 1)
    (impossible,) = [row for row in rows if row["lastReportedDate"] == "2025-02-30"]
    (unnamed,) = [row for row in rows if not row["marketParticipantName"]]
    assert (unnamed["firmCRDNumber"], unnamed["MPID"]) == (None, None)
    assert unnamed["summaryTypeCode"] == "OTC_W_SMBL_FIRM"
    assert unnamed["totalWeeklyShareQuantity"] > 0
    assert impossible not in (blank, unnamed)
    assert differences(records) == {}


def test_the_ninth_t2_week_has_a_total_that_its_rows_do_not_reach(demo: Demo):
    found = differences(demo.records(place(demo, "T2", 9)))
    assert [(market, shares) for (market, _), shares in found.items()] == [("OTC", 1_000)]


def test_an_undocumented_tier_is_listed_with_a_dozen_rows(demo: Demo):
    tenth = demo.weeks("T1")[9]
    assert [listed for listed in demo.partitions() if listed[1] == "NMS"] == [[tenth, "NMS"]]
    records = demo.records(partition(tenth, "NMS"))
    rows = [record for record in records if record["summaryTypeCode"].endswith("_W_SMBL_FIRM")]
    assert len(rows) == 12
    assert {row["tierDescription"] for row in rows} == {"Not Applicable"}
    assert differences(records) == {}


def test_the_other_weeks_of_the_default_window_reconcile_and_hold_no_bad_row(demo: Demo):
    faulty = {("T1", 2), ("OTCE", 4)}
    calm = {(tier, n) for tier in ("T1", "T2", "OTCE") for n in range(1, 9)} - faulty
    assert len(calm) == 22
    for tier, number in calm:
        requested = place(demo, tier, number)
        records = demo.records(requested)
        assert differences(records) == {}
        assert all(record["lastReportedDate"] != "2025-02-30" for record in records)
        week = str(requested[0]["fieldValue"])
        blank = equal("issueSymbolIdentifier", "")
        assert demo.data(compareFilters=[*partition(week, tier), blank]).status_code == 204


def test_the_twelfth_otc_week_has_lost_most_rows_and_still_adds_up(demo: Demo):
    lost, usual = (demo.records(place(demo, "OTCE", number)) for number in (12, 13))
    firm_rows = [
        sum(record["summaryTypeCode"].endswith("_W_SMBL_FIRM") for record in records)
        for records in (lost, usual)
    ]
    assert 0.35 < firm_rows[0] / firm_rows[1] < 0.45
    assert differences(lost) == {}


@pytest.mark.slow
def test_two_weeks_after_the_anchor_the_metadata_lists_a_new_field(start_demo: StartDemo):
    path = "/metadata/group/otcMarket/name/weeklySummary"
    before = start_demo()
    names = [field["name"] for field in before.client.get(path).json()["fields"]]
    before.stop()
    later = start_demo(clock_now="2026-03-30T15:00:00+00:00")
    listed = [field["name"] for field in later.client.get(path).json()["fields"]]
    assert listed == [*names, "totalOddLotTradeCount"]
