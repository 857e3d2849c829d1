"""Cboe's market volume: files as Cboe writes them, damaged ones, and the exchanges' calendar."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from orchestration_project.catalog.cboe import SOURCE, VOLUME
from orchestration_project.domains.cboe import volume
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.contract import validate
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.errors import SourceError

DOCUMENTS = SOURCE.documents
FRIDAY, MONDAY = Partition(date(2026, 1, 2)), Partition(date(2026, 1, 5))
HEADER = (
    "Day,Market Participant,Tape A Shares,Tape B Shares,Tape C Shares,Total Shares,"
    "Tape A Notional,Tape B Notional,Tape C Notional,Total Notional,"
    "Tape A Trade Count,Tape B Trade Count,Tape C Trade Count,Total Trade Count"
)
NYSE = "2026-01-05,NYSE (N),100,20,3,123,1000.25,200.5,30,1230.75,4,3,1,8"
TRF = "2026-01-05,FINRA / Nasdaq TRF Carteret (DQ),90,0,10,100,900.1,0,99.9,1000,5,0,1,6"
EARLIER = "2026-01-02,NYSE MKT (A),1,1,1,3,1,1,1,3,1,1,1,3"
FILE = "\n".join([HEADER, EARLIER, NYSE, TRF, ""]).encode()


def checked(body: bytes, partition: Partition = MONDAY, limit: float = 0.0) -> Validated:
    parts = [Part(1, body)]
    return validate(
        VOLUME.contract,
        VOLUME.parse(parts, partition),
        parts,
        partition_texts=VOLUME.partitioning.texts_of(partition),
        record_total=None,
        max_reject_ratio=limit,
    )


def failed(found: Validated) -> dict[str, bool]:
    return {audit.name: audit.blocks for audit in found.audits if audit.outcome == "failed"}


def with_nyse(line: str) -> bytes:
    return FILE.replace(NYSE.encode(), line.encode())


def test_a_day_has_its_participants_by_code_with_exact_amounts():
    found = checked(FILE)
    assert failed(found) == {}
    assert found.rows.drop("part_number").rows() == [
        (
            *(date(2026, 1, 5), "DQ", "FINRA / Nasdaq TRF Carteret (DQ)", 90, 0, 10, 100),
            *(900_100_000, 0, 99_900_000, 1_000_000_000, 5, 0, 1, 6),
        ),
        (
            *(date(2026, 1, 5), "N", "NYSE (N)", 100, 20, 3, 123),
            *(1_000_250_000, 200_500_000, 30_000_000, 1_230_750_000, 4, 3, 1, 8),
        ),
    ]
    assert checked(FILE, FRIDAY).rows["participant_code"].to_list() == ["A"]


def test_a_file_lists_its_days_and_another_day_does_not_change_the_version_of_one():
    assert DOCUMENTS.partitions_in(FILE) == [FRIDAY, MONDAY]
    assert DOCUMENTS.version_in(FILE, Partition(date(2026, 1, 6))) is None
    restated = with_nyse(NYSE.replace("1000.25", "1000.26"))
    assert DOCUMENTS.version_in(restated, MONDAY) != DOCUMENTS.version_in(FILE, MONDAY)
    assert DOCUMENTS.version_in(restated, FRIDAY) == DOCUMENTS.version_in(FILE, FRIDAY)


@pytest.mark.parametrize(
    "body",
    [b"\xef\xbb\xbf" + FILE, FILE.replace(b"\n", b"\r\n"), FILE.removesuffix(b"\n")],
    ids=["byte order mark", "Windows line ends", "no last line end"],
)
def test_another_way_to_write_the_same_lines_is_the_same_data(body):
    assert checked(body).rows.equals(checked(FILE).rows)
    assert DOCUMENTS.version_in(body, MONDAY) == DOCUMENTS.version_in(FILE, MONDAY)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (NYSE.replace(",100,", ',"1,100",'), "not_a_number"),
        (NYSE.replace(",100,", ",-100,"), "negative_quantity"),
        (NYSE.replace(",100,", ",100.0000001,"), "fractional_quantity"),
        (NYSE.replace("1000.25", '"1,000.25"'), "not_an_amount"),
        (NYSE.replace("1000.25", "-1000.25"), "not_an_amount"),
        (NYSE.replace("1000.25", ""), "missing_value"),
        (NYSE.replace(",100,", ",1,100,"), "wrong_field_count"),
        (NYSE.replace("NYSE (N)", "NYSE"), "missing_value"),
        (NYSE.replace("NYSE (N)", "NYSE (n)"), "wrong_form"),
    ],
)
def test_a_line_that_cannot_be_read_exactly_is_rejected_and_quarantines_its_day(line, code):
    found = checked(with_nyse(line))
    [reject] = found.rejects.to_dicts()
    assert (reject["reason_code"], reject["line_number"], reject["record"]) == (code, 3, line)
    assert failed(found) == {"has_few_rejects": True}
    assert failed(checked(with_nyse(line), FRIDAY)) == {}


@pytest.mark.parametrize(
    ("line", "audit", "blocks"),
    [
        (NYSE.replace(",123,", ",124,"), "has_totals_of_shares_and_trades", True),
        (NYSE.replace("1,8", "1,9"), "has_totals_of_shares_and_trades", True),
        (NYSE.replace("1230.75", "1230.77"), "has_totals_of_notional", False),
        (NYSE.replace("NYSE (N)", "A new facility (DX)"), "has_known_off_exchange_codes", False),
        (NYSE.replace("NYSE (N)", "NASDAQ (DQ)"), "has_unique_keys", True),
    ],
)
def test_a_row_that_breaks_a_claim_quarantines_its_day_or_warns(line, audit, blocks):
    assert failed(checked(with_nyse(line))) == {audit: blocks}


def test_a_total_of_notional_that_was_rounded_by_tape_is_no_difference():
    assert failed(checked(with_nyse(NYSE.replace("1230.75", "1230.765")))) == {}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"<html><body>Maintenance</body></html>", "a header Day,Market Participant"),
        (b"<html>" + b"x" * 200_000, "a header Day,Market Participant"),
        (b"", "a header Day,Market Participant"),
        (FILE.replace(b"Tape B Shares", b"Tape B Volume"), "a header Day,Market Participant"),
        (FILE[:-20], "a whole last line"),
        (FILE + b"2025-12-31,NYSE (N),1,1,1,3,1,1,1,3,1,1,1,3\n", "days of one year"),
        (FILE + b"01/06/2026,NYSE (N),1,1,1,3,1,1,1,3,1,1,1,3\n", "begin with a day"),
        (FILE + b"\n\n", "begin with a day"),
        (f"{HEADER}\n".encode(), "days of one year"),
        (FILE.replace(b"NYSE", b"\xff\xfe"), "text in UTF-8"),
    ],
)
def test_what_is_not_a_file_of_one_year_is_refused_with_what_was_expected(body, expected):
    with pytest.raises(SourceError, match="not a file of Cboe's market volume") as refused:
        DOCUMENTS.partitions_in(body)
    assert expected in str(refused.value.expected)
    assert "CBOE_API_URL" in refused.value.remedy


def test_a_file_of_another_year_has_no_day_that_was_asked_for():
    assert DOCUMENTS.version_in(FILE.replace(b"2026-", b"2025-"), MONDAY) is None


def test_a_day_is_in_its_years_file_and_a_file_is_expected_after_its_first_session():
    assert DOCUMENTS.names_of(MONDAY, date(2026, 3, 1)) == ("market_history_2026.csv",)
    files = DOCUMENTS.listings_of(date(2024, 12, 30), date(2026, 1, 6))
    assert files == [f"market_history_{year}.csv" for year in (2024, 2025, 2026)]
    assert DOCUMENTS.listings_of(None, date(2026, 1, 2)) == ["market_history_2025.csv"]
    assert DOCUMENTS.listings_of(None, date(2026, 1, 3)) == ["market_history_2026.csv"]


def test_exchanges_trade_on_some_federal_holidays():
    assert volume.is_closed(date(2026, 4, 3))  # Good Friday
    assert not volume.is_closed(date(2025, 10, 13))  # Columbus Day
    assert not volume.is_closed(date(2025, 11, 11))  # Veterans Day


WEEK = date(2026, 1, 5)
NOON, LATER = datetime(2026, 1, 13, 12, tzinfo=UTC), datetime(2026, 1, 27, 12, tzinfo=UTC)
SHARES = ("tape", "exchange_share_quantity", "off_exchange_share_quantity")


def daily(*lines: str) -> pl.DataFrame:
    body = "\n".join([HEADER, *lines, ""]).encode()
    found = [
        volume.off_exchange_daily(checked(body, partition).rows)
        for partition in DOCUMENTS.partitions_in(body)
    ]
    return pl.concat(found).with_columns(known_from=pl.lit(NOON))


def tiers(*shares: tuple[int, int]) -> pl.DataFrame:
    names = ("ats_share_quantity", "non_ats_share_quantity", "published_at", "known_from")
    rows = [(*share, NOON, LATER) for share in shares]
    kinds = (pl.Int64(), pl.Int64(), *[pl.Datetime("us", "UTC")] * 2)
    return pl.DataFrame(rows, dict(zip(names, kinds, strict=True)), orient="row")


def test_a_day_is_split_into_trading_on_and_off_exchange_by_tape():
    rows = daily(NYSE, TRF)
    assert rows.select(SHARES).rows() == [
        ("A", 100, 90),
        ("B", 20, 0),
        ("C", 3, 10),
        ("all", 123, 100),
    ]
    [total] = rows.filter(tape="all").to_dicts()
    assert total["off_exchange_share_ratio"] == 100 / 223
    assert total["off_exchange_notional_ratio"] == pytest.approx(1000 / 2230.75)
    assert total["off_exchange_trade_ratio"] == 6 / 14


def test_a_tape_without_trading_has_no_ratio_and_one_without_a_facility_has_zero():
    nothing = "2026-01-05,NYSE (N),0,5,0,5,0,5,0,5,0,1,0,1"
    found = {row["tape"]: row for row in daily(nothing).to_dicts()}
    for name in ("share", "notional", "trade"):
        ratios = [found[tape][f"off_exchange_{name}_ratio"] for tape in ("A", "B", "C", "all")]
        assert ratios == [None, 0.0, None, 0.0]


def test_a_week_is_the_sum_of_its_days_beside_finras_shares_of_both_tiers():
    lines = [
        market_line.replace("-05,", f"-{day:02},")
        for day in range(5, 10)
        for market_line in (NYSE, TRF)
    ]
    found = volume.off_exchange_weekly(daily(*lines), tiers((100, 300), (23, 70)), week_start=WEEK)
    assert found.select(*SHARES, "day_count", "session_count").rows() == [
        ("A", 500, 450, 5, 5),
        ("B", 100, 0, 5, 5),
        ("C", 15, 50, 5, 5),
        ("all", 615, 500, 5, 5),
    ]
    finra = [
        *("finra_ats_share_quantity", "finra_non_ats_share_quantity"),
        *("finra_ats_share_ratio", "finra_non_ats_share_ratio"),
    ]
    assert found.select(finra).rows() == [
        *[(None, None, None, None)] * 3,
        (123, 370, 123 / 1115, 370 / 1115),
    ]
    assert found["known_from"].unique().to_list() == [LATER]
    assert found["published_at"].unique().to_list() == [NOON]
    assert found["off_exchange_share_ratio"].to_list()[-1] == 500 / 1115


def test_a_week_that_lacks_a_day_or_a_tier_is_not_compared_with_finras_whole_week():
    one_day = volume.off_exchange_weekly(daily(NYSE, TRF), tiers((1, 2), (3, 4)), week_start=WEEK)
    assert one_day.filter(tape="all").select(
        "day_count", "finra_ats_share_quantity", "finra_ats_share_ratio"
    ).rows() == [(1, 4, None)]
    one_tier = volume.off_exchange_weekly(daily(NYSE), tiers((1, 2)), week_start=WEEK)
    assert one_tier["finra_ats_share_quantity"].to_list() == [None] * 4
    new_year = volume.off_exchange_weekly(daily(EARLIER), tiers(), week_start=date(2025, 12, 29))
    assert new_year["session_count"].unique().to_list() == [4]
    assert new_year["known_from"].unique().to_list() == [NOON]
    assert new_year["published_at"].unique().to_list() == [None]
