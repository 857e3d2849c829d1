"""Audits that quarantine a delivery of prices, and those that only warn."""

from datetime import date

import polars as pl

from orchestration_project.domains.prices.audits import (
    AUDITS,
    WARNINGS,
    PriceComparison,
    PriceLimits,
    checked_prices,
    warnings_about,
)
from orchestration_project.domains.prices.contract import RequestedRange, check_prices, read_prices
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.contracts.values import combine_batches
from tests.domains.prices import MONDAY, csv, line, row, rows, week

LIMITS = PriceLimits(
    max_reject_ratio=0.1, jump_ratio=0.4, stale_sessions=3, disagreement_ratio=0.01
)
FRIDAY = date(2026, 2, 6)


def audited(*lines: str, text: bytes | None = None, spelled: str = "AAA") -> dict[str, str]:
    answer = read_prices("files", [Part(1, text or csv(*lines))])
    prices = check_prices([RequestedRange(answer, "AAA", spelled, "files", MONDAY, FRIDAY)])
    [checked] = checked_prices(prices, LIMITS)
    return {audit.name: audit.outcome for audit in checked.audits}


def expect_warnings(
    found: pl.DataFrame, before: pl.DataFrame | None = None, second=None, through=FRIDAY
):
    beside = PriceComparison(
        combine_batches([found]),
        combine_batches([rows() if before is None else before]),
        combine_batches([found.clear() if second is None else second]),
        ["no source was asked" if second is None else None],
        [through],
    )
    [audits] = warnings_about(beside, newest_session=FRIDAY, limits=LIMITS)
    assert {audit.severity for audit in audits} == {"warning"}
    return {audit.name: audit for audit in audits}


def test_every_audit_has_a_claim_and_a_clean_week_passes_all_that_have_ground():
    outcomes = audited(*(line(day) for day in week()))
    assert set(outcomes.values()) == {"passed"}
    found = expect_warnings(rows(*(row(day) for day in week())))
    assert {*outcomes, *found} == {*AUDITS, *WARNINGS}
    assert [name for name, value in found.items() if value.outcome != "passed"] == [
        "agrees_with_second_source"
    ]


def test_a_day_that_comes_twice_holds_back():
    assert audited(line(MONDAY), line(MONDAY))["has_unique_days"] == "failed"


def test_a_day_of_another_symbol_holds_back():
    text = csv(line(MONDAY)).replace(b"date,", b"symbol,date,").replace(b"2026", b"BBB,2026")
    assert audited(text=text)["holds_only_its_symbol"] == "failed"
    assert audited(text=text, spelled="BBB")["holds_only_its_symbol"] == "passed"


def test_one_reject_may_be_and_many_hold_back():
    good = [line(day) for day in week()[2:]]
    one, two = (
        audited(*(line(day, volume="?") for day in week()[:count]), *good) for count in (1, 2)
    )
    assert (one["has_few_rejects"], two["has_few_rejects"]) == ("passed", "failed")


def test_prices_that_contradict_each_other_warn():
    outcomes = audited(line(MONDAY, high="9"), *(line(day) for day in week()[1:]))
    assert (outcomes["has_sound_bars"], outcomes["has_few_rejects"]) == ("failed", "passed")


def test_a_session_without_price_warns_and_weekends_do_not():
    days = [MONDAY, *week(date(2026, 2, 4), 3), date(2026, 2, 9)]
    found = expect_warnings(rows(*map(row, days)), through=date(2026, 2, 10))[
        "follows_the_calendar"
    ]
    assert [offender["trade_date"] for offender in found.offenders] == [
        date(2026, 2, 3),
        date(2026, 2, 10),
    ]
    monday_before = rows(row(date(2026, 1, 26)))
    found = expect_warnings(rows(*map(row, week())), monday_before)["follows_the_calendar"]
    assert len(found.offenders) == 4


def test_a_price_on_a_day_without_session_warns():
    found = expect_warnings(rows(*map(row, [*week(), date(2026, 2, 7)])))["follows_the_calendar"]
    assert list(found.offenders) == [{"trade_date": date(2026, 2, 7), "what": "no session"}]


def test_a_jump_warns_unless_a_split_or_dividend_explains_it():
    jump = [row(MONDAY), row(week()[1], 5)]
    assert expect_warnings(rows(*jump))["has_no_unexplained_jump"].outcome == "failed"
    split = [row(MONDAY), row(week()[1], 5, split_ratio=2_000_000)]
    assert expect_warnings(rows(*split))["has_no_unexplained_jump"].outcome == "passed"
    seam = expect_warnings(rows(jump[1]), before=rows(jump[0]))
    assert seam["has_no_unexplained_jump"].outcome == "failed"


def test_adjusted_prices_must_move_apart_by_actions_alone():
    name = "is_adjusted_as_its_actions_say"
    tuesday = week()[1]
    # 10 less a dividend of 1 is 9: the same wealth, so the adjusted price stays at 9
    dividend = {"adjusted_close": 9_000_000}
    good = rows(row(MONDAY, 10, **dividend), row(tuesday, 9, dividend=1_000_000, **dividend))
    assert expect_warnings(good)[name].outcome == "passed"
    forgotten = rows(row(MONDAY, 10, **dividend), row(tuesday, 9, **dividend))
    assert expect_warnings(forgotten)[name].outcome == "failed"
    as_of_day = rows(
        row(MONDAY, 10, adjusted_close=5_000_000), row(tuesday, 5, split_ratio=2_000_000)
    )
    after_split = rows(row(MONDAY, 5), row(tuesday, 5, split_ratio=2_000_000))
    assert [expect_warnings(prices)[name].outcome for prices in (as_of_day, after_split)] == [
        "passed"
    ] * 2
    plain = rows(*(row(day, adjusted_close=None) for day in week()))
    assert expect_warnings(plain)[name].outcome == "not_applicable"


def test_prices_that_end_long_before_the_latest_session_warn():
    found = [expect_warnings(rows(*map(row, week()[:count])))["is_not_stale"] for count in (1, 2)]
    assert [audit.outcome for audit in found] == ["failed", "passed"]


def test_a_second_source_is_compared_by_returns_so_that_later_splits_do_not_matter():
    name = "agrees_with_second_source"
    first = rows(*(row(day, 10 + number) for number, day in enumerate(week())))
    halved = first.with_columns(pl.col("close") // 2)
    assert expect_warnings(first, second=halved)[name].outcome == "passed"
    other = rows(*(row(day, 10 + 2 * number) for number, day in enumerate(week())))
    assert expect_warnings(first, second=other)[name].outcome == "failed"
    assert expect_warnings(first, second=rows())[name].outcome == "not_applicable"
    assert expect_warnings(first)[name].found == "no source was asked"
