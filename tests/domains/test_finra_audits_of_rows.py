"""The warnings about single rows."""

from datetime import date, timedelta

import polars as pl
import pytest

from orchestration_project.domains.finra.audits import PLAUSIBILITY, plausibility_audits
from tests.resources.weeks import MONDAY, frame, row

CAP = 100_000_000_000
TODAY = date(2026, 1, 5)


def quantities(symbol: str, shares: int, trades: int) -> dict[str, object]:
    return row(symbol, share_quantity=shares, trade_count=trades)


def check_audits_and_list_failed(
    *pieces: pl.DataFrame, cap: int = CAP
) -> dict[str, tuple[str, list[object]]]:
    """Return what was found by each audit that failed, and the offenders' symbols."""
    audits = plausibility_audits(pieces, max_row_shares=cap, fetched_on=TODAY)
    assert [audit.name for audit in audits] == list(PLAUSIBILITY)
    assert {audit.severity for audit in audits} == {"warning"}
    assert not any(audit.blocks for audit in audits)
    return {
        audit.name: (audit.found, [offender["symbol"] for offender in audit.offenders])
        for audit in audits
        if audit.outcome == "failed"
    }


@pytest.mark.parametrize(
    ("shares", "trades", "name"),
    [
        (0, 1, "has_shares_where_it_has_trades"),
        (1, 0, "has_trades_where_it_has_shares"),
        (1, 2, "has_no_more_trades_than_shares"),
        (0, 0, "has_trading_in_every_row"),
        (CAP + 1, 5, "has_no_implausible_share_quantity"),
        (2**63 - 1, 5, "has_no_implausible_share_quantity"),
    ],
)
def test_an_implausible_row_fails_one_check_which_lists_it(shares: int, trades: int, name: str):
    rows = frame([row("GOOD"), quantities("BAD", shares, trades)])
    assert check_audits_and_list_failed(rows) == {name: ("1 of 2", ["BAD"])}


@pytest.mark.parametrize(("shares", "trades"), [(1, 1), (2, 1), (CAP, CAP), (100_000, 1)])
def test_a_plausible_row_fails_none(shares: int, trades: int):
    assert check_audits_and_list_failed(frame([quantities("A", shares, trades)])) == {}


@pytest.mark.parametrize("updated", [MONDAY - timedelta(1), TODAY + timedelta(1)])
def test_an_update_before_the_week_or_after_the_download_warns(updated: date):
    rows = frame([row("GOOD"), row("BAD", last_update_date=updated)])
    assert check_audits_and_list_failed(rows) == {
        "has_no_implausible_update_date": ("1 of 2", ["BAD"])
    }


@pytest.mark.parametrize("updated", [MONDAY, TODAY, None])
def test_an_update_between_the_week_and_the_download_does_not_warn(updated: date | None):
    assert check_audits_and_list_failed(frame([row("A", last_update_date=updated)])) == {}


def test_rows_in_several_pieces_are_counted_together_and_20_of_them_listed():
    pieces = [frame([quantities(f"S{n:02}", 0, 0) for n in range(at, at + 15)]) for at in (0, 15)]
    name = "has_trading_in_every_row"
    assert check_audits_and_list_failed(*pieces) == {
        name: ("30 of 30", [f"S{n:02}" for n in range(20)])
    }


def test_the_cap_can_be_set_and_no_rows_break_nothing():
    assert check_audits_and_list_failed(frame([row("A")]), cap=99) == {
        "has_no_implausible_share_quantity": ("1 of 1", ["A"])
    }
    assert check_audits_and_list_failed(frame([])) == {}
    assert check_audits_and_list_failed() == {}
