"""Consequences of a dataset's declaration: its partitions, its contract, its audits."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from orchestration_project.domains.finra.datasets import (
    BOND_TRADE_ACTIVITY,
    CORPORATE_MARKET_BREADTH,
    TREASURY_MONTHLY,
    TREASURY_WEEKLY,
)
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.equity_datasets import SHORT_INTEREST
from orchestration_project.engine.contracts.audits import Validated
from orchestration_project.engine.contracts.contract import validate
from orchestration_project.engine.contracts.partitioning import Calendar, Newest, Partition
from orchestration_project.engine.contracts.parts import Part
from orchestration_project.engine.own.partitions import Monthly
from orchestration_project.errors import ConfigurationError, ContractError, SourceError
from tests.domains.datasets import (
    APPLE,
    CISCO,
    DATASET,
    FIELDS,
    GOOGLE,
    WEEK,
    check_filters_and_list_values,
    known_partitions,
    record,
)

MONDAY = date.fromisoformat(WEEK)
EAST = Partition(MONDAY, "EAST")
PARTITIONS, WEEKS = DATASET.partitioning, TREASURY_WEEKLY.partitioning
TODAY = date(2026, 1, 20)


def delivery(*records: dict[str, object], header: str | None = None) -> Part:
    names = [field.name for field in FIELDS]
    lines = [header or "|".join(names)]
    lines += ["|".join("" if row[n] is None else str(row[n]) for n in names) for row in records]
    return Part(1, "\n".join(lines).encode())


def checked(
    *records: dict[str, object], promised: int | None = None, limit: float = 1
) -> Validated:
    return checked_parts(
        [delivery(*records)],
        record_total=len(records) if promised is None else promised,
        max_reject_ratio=limit,
    )


def checked_parts(parts: list[Part], *, record_total: int, max_reject_ratio: float) -> Validated:
    return validate(
        DATASET.contract,
        DATASET.parse(parts, EAST),
        parts,
        partition_texts=PARTITIONS.texts_of(EAST),
        record_total=record_total,
        max_reject_ratio=max_reject_ratio,
    )


def outcomes(found: Validated) -> dict[str, str]:
    return {audit.name: audit.outcome for audit in found.audits if audit.outcome != "passed"}


def test_records_become_rows_in_the_order_of_the_key_with_exact_amounts():
    found = checked(record(GOOGLE, remark="x", seen=None), record(CISCO, volume=None))
    assert found.rows.rows() == [
        (MONDAY, "EAST", CISCO, "", 7, None, None, date(2026, 1, 9), 1),
        (MONDAY, "EAST", GOOGLE, "", 7, 1_500_000, "x", None, 1),
    ]
    assert found.rejects.is_empty()
    assert outcomes(found) == {}
    assert [audit.name for audit in found.audits] == [
        "has_all_rows_of_record_total",
        "holds_only_its_partition",
        "has_unique_keys",
        "has_few_rejects",
        "has_rows",
        "has_trades",
        "is_quiet",
    ]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"bond": "037833101"}, "wrong_check_digit", "ends in 1, its check digit is 0"),
        ({"bond": "03783310"}, "not_a_cusip", "bond is not a CUSIP of nine characters: 03783310"),
        ({"bond": "03783310X"}, "not_a_cusip", "bond is not a CUSIP of nine characters: 03783310X"),
        ({"bond": " "}, "missing_value", "bond is blank"),
        ({"trades": None}, "missing_quantity", "trades is blank"),
        ({"trades": "7.5"}, "fractional_quantity", "trades is written with a fraction: 7.5"),
        ({"trades": -7}, "negative_quantity", "trades is negative: -7"),
        ({"trades": "many"}, "not_a_number", "trades is not a number: many"),
        ({"trades": 2**63}, "quantity_too_large", "trades is above 2^63-1"),
        ({"volume": "1.2345678"}, "not_an_amount", "volume is no number with up to 6 decimals"),
        ({"volume": "-1"}, "not_an_amount", "that 64 bits keep exactly: -1"),
        ({"seen": "2026-02-30"}, "impossible_date", "seen is no date: 2026-02-30"),
        ({"remark": "x" * 1001}, "text_too_long", "remark has 1001 bytes, more than 1000"),
        ({"note": "x" * 801}, "text_too_long", "note has 801 bytes, more than 800"),
    ],
)
def test_a_record_that_breaks_the_contract_is_rejected_with_its_reason(changes, code, reason):
    found = checked(record(APPLE, **changes), record(CISCO))
    assert found.rows["cusip"].to_list() == [CISCO]
    [reject] = found.rejects.to_dicts()
    assert (reject["reason_code"], reject["line_number"]) == (code, 2)
    assert reason in reject["reason"]


@pytest.mark.parametrize(
    ("records", "promised", "failed"),
    [
        ([record()], 2, "has_all_rows_of_record_total"),
        ([record(), record(GOOGLE, region="WEST")], 2, "holds_only_its_partition"),
        ([record(), record(GOOGLE, weekOf="2026-01-12")], 2, "holds_only_its_partition"),
        ([record(), record()], 2, "has_unique_keys"),
        ([record(), record(GOOGLE, trades="x")], 2, "has_few_rejects"),
        ([record(), record(GOOGLE, trades=0)], 2, "has_trades"),
        ([record(), record(GOOGLE, trades=1001)], 2, "is_quiet"),
    ],
)
def test_an_audit_that_fails_keeps_a_delivery_out_unless_it_only_warns(records, promised, failed):
    found = checked(*records, promised=promised, limit=0.1)
    assert outcomes(found) == {failed: "failed"}
    assert found.is_quarantined == (failed != "is_quiet")


def test_a_delivery_of_nothing_but_rejects_would_empty_what_is_published_and_is_kept_out():
    assert outcomes(checked(record(trades="x"))) == {"has_rows": "failed"}


def test_rows_that_differ_in_a_text_that_may_be_blank_are_two():
    assert len(checked(record(), record(note="again")).rows) == 2


def test_a_header_that_lacks_a_field_names_the_dataset_and_one_with_more_is_read():
    names = [field.name for field in FIELDS]
    with pytest.raises(ContractError, match="not that of testDataset: lacks remark"):
        checked_parts(
            [delivery(record(), header="|".join(names).replace("remark", "notes"))],
            record_total=1,
            max_reject_ratio=0,
        )
    wider = Part(1, delivery(record()).body.replace(b"\n", b"|more\n") + b"|1")
    found = checked_parts([wider], record_total=1, max_reject_ratio=0)
    assert len(found.rows) == 1


def test_a_partition_has_a_key_a_scope_and_the_sources_words():
    assert PARTITIONS.key_of(EAST) == "EAST|2026-01-05"
    assert PARTITIONS.partition_of("EAST|2026-01-05", today=TODAY) == EAST
    assert PARTITIONS.scope_of(EAST) == {"week_start": MONDAY, "region": "EAST"}
    assert check_filters_and_list_values(DATASET, EAST) == {
        "weekOf": "2026-01-05",
        "region": "EAST",
    }
    treasury = WEEKS.partition_of("2023-01-30", today=TODAY)
    assert (treasury, WEEKS.key_of(treasury)) == (Partition(date(2023, 1, 30)), "2023-01-30")
    friday = BOND_TRADE_ACTIVITY.partitioning.partition_of("T1|2026-01-09", today=TODAY)
    assert friday == Partition(date(2026, 1, 9), "T1")


@pytest.mark.parametrize(
    ("key", "found", "likely"),
    [
        ("2026-01-05", "another shape", "EAST|2026-01-05"),
        ("EAST|2026-01-05|x", "another shape", "EAST|2026-01-05"),
        ("EAST|20260105", "another shape", "EAST|2026-01-05"),
        ("NORTH|2026-01-05", "NORTH", "EAST|2026-01-05"),
        ("EAST|2026-01-06", "2026-01-06 is a Tuesday", "EAST|2026-01-05"),
        ("WEST|2026-01-11", "2026-01-11 is a Sunday", "WEST|2026-01-05"),
        ("EAST|2026-01-26", "a day after 2026-01-20", "EAST|2026-01-19"),
        ("EAST|9999-12-31", "9999-12-31 is a Friday", "EAST|2026-01-19"),
        ("EAST|soon", "another shape", "EAST|2026-01-19"),
    ],
)
def test_a_key_that_is_none_is_refused_with_what_one_is(key: str, found: str, likely: str):
    with pytest.raises(ConfigurationError, match="no partition") as refused:
        PARTITIONS.partition_of(key, today=TODAY)
    assert refused.value.found == found
    assert refused.value.expected == "<EAST|WEST>|<a past Monday, yyyy-mm-dd>"
    assert refused.value.remedy == f"request another partition, e.g. {likely}"


@pytest.mark.parametrize(
    ("partitioning", "key", "likely"),
    [
        (BOND_TRADE_ACTIVITY.partitioning, "T1|2026-10-08", "T1|2026-10-09"),
        (BOND_TRADE_ACTIVITY.partitioning, "T1|soon", "T1|2026-01-02"),
        (BOND_TRADE_ACTIVITY.partitioning, "soon", "T1|2026-01-02"),
        (SHORT_INTEREST.partitioning, "2026-10-30", "2026-10-16"),
        (SHORT_INTEREST.partitioning, "0001-01-20", "0001-01-16"),
        (WEEKS, "2030-01-08", "2023-02-06"),
    ],
)
def test_without_a_clock_no_partition_of_a_far_year_is_proposed(partitioning, key, likely):
    with pytest.raises(ConfigurationError) as refused:
        partitioning.partition_of(key, today=date.max)
    assert refused.value.remedy == f"request another partition, e.g. {likely}"


def test_a_key_before_the_first_day_is_refused():
    assert PARTITIONS.partition_of("EAST|2026-01-05", today=TODAY, first_day=MONDAY) == EAST
    with pytest.raises(ConfigurationError, match="no partition") as refused:
        PARTITIONS.partition_of("EAST|2025-12-29", today=TODAY, first_day=MONDAY)
    assert refused.value.found == "a day before 2026-01-05, the first partition"


def test_what_a_source_lists_is_known_or_left_out_by_its_value_and_a_day_must_name_it():
    listed = [("2026-01-12", "EAST"), ("2026-01-05", "WEST"), ("2026-01-05", "NORTH")]
    west = Partition(MONDAY, "WEST")
    later = Partition(date(2026, 1, 12), "EAST")
    assert known_partitions(DATASET, listed) == ([west, later], ["NORTH"])
    for wrong in ("2026-01-06", "spring", "2026-1-5"):
        with pytest.raises(SourceError, match="a partition of testDataset whose day names none"):
            known_partitions(DATASET, [(wrong, "EAST")])


def test_rows_may_have_another_day_than_the_name_of_their_partition():
    def last_weekday(first: date) -> date:
        last = date(first.year, first.month, 28)
        return last - timedelta(days=max(0, last.weekday() - 4))

    months = Monthly("2026-01-01", delay_days=3, column="week_start", row_day=last_weekday)
    monthly = replace(
        TREASURY_WEEKLY, declared=replace(TREASURY_WEEKLY.declared, partitions=months)
    )
    january, february = Partition(date(2026, 1, 1)), Partition(date(2026, 2, 1))
    listed = [("2026-02-27",), ("2026-01-28",)]
    assert known_partitions(monthly, listed) == ([january, february], [])
    assert check_filters_and_list_values(monthly, february) == {"beginningOfWeekDate": "2026-02-27"}
    assert monthly.partitioning.key_of(february) == "2026-02-01"
    assert monthly.partitioning.scope_of(february) == {"week_start": date(2026, 2, 27)}
    for wrong in ("2026-02-01", "2026-02-28", "2026-01-31", "0001-01-01"):
        with pytest.raises(SourceError, match="whose day names none") as refused:
            known_partitions(monthly, [(wrong,)])
        assert refused.value.expected == (
            "beginningOfWeekDate as yyyy-mm-dd, of a partition that a day 1 of a month names, "
            "e.g. 2026-01-28"
        )


def test_what_was_never_taken_is_missing_and_the_latest_of_each_value_are_looked_at_again():
    weeks = Calendar(0, 8).days_between(date(2026, 1, 1), date(2026, 2, 1))
    assert weeks == [date(2026, 1, day) for day in (5, 12, 19, 26)]
    known = [Partition(day, value) for day in weeks for value in ("EAST", "WEST")]
    taken = {PARTITIONS.key_of(partition) for partition in known if partition.day != weeks[3]}
    since = date(2026, 1, 6)
    missing, recent = PARTITIONS.missing_and_recent(known, loaded=taken, since=since, most_recent=1)
    assert {partition.day for partition in missing} == {weeks[3]}
    assert recent == [Partition(weeks[2], value) for value in ("EAST", "WEST")]
    older = PARTITIONS.missing_and_recent(known, loaded=set(), since=weeks[3], most_recent=9)
    assert older == ([partition for partition in known if partition.day == weeks[3]], [])


def test_days_that_name_partitions_are_weekdays_or_one_day_of_each_week():
    daily = CORPORATE_MARKET_BREADTH.partitioning.calendar
    weekly = BOND_TRADE_ACTIVITY.partitioning.calendar
    days = daily.days_between(date(2026, 1, 2), date(2026, 1, 6))
    assert days == [date(2026, 1, 2), date(2026, 1, 5), date(2026, 1, 6)]
    fridays = weekly.days_between(date(2026, 1, 3), date(2026, 1, 16))
    assert fridays == [date(2026, 1, 9), date(2026, 1, 16)]
    assert daily.days_between(MONDAY, date(2026, 1, 4)) == []
    assert weekly.days_between(MONDAY, date(2026, 1, 4)) == []


@pytest.mark.parametrize(
    ("loaded", "due"),
    [
        (date(2026, 1, 15), date(2026, 1, 17)),
        (date(2026, 1, 16), date(2026, 1, 21)),  # the 19th is a holiday
        (date(2026, 1, 20), date(2026, 1, 22)),
    ],
)
def test_the_next_day_is_due_once_its_delay_is_over_and_no_holiday_is(loaded: date, due: date):
    assert CORPORATE_MARKET_BREADTH.partitioning.calendar.next_due(loaded) == due


def test_a_newer_partition_of_each_loaded_value_is_due():
    loaded = ["EAST|2026-01-05", "WEST|2025-12-29", "EAST|2025-12-29"]
    assert PARTITIONS.newest_loaded(loaded) == [
        Newest("EAST", MONDAY, date(2026, 1, 20)),
        Newest("WEST", date(2025, 12, 29), date(2026, 1, 13)),
    ]
    assert PARTITIONS.newest_loaded([]) == []


def test_a_dataset_that_ended_has_no_later_partition_and_none_of_it_is_late():
    ended, last = TREASURY_WEEKLY.partitioning.calendar, date(2023, 2, 6)
    now, grace = datetime(2026, 1, 20, tzinfo=UTC), timedelta(hours=36)
    assert ended.days_between(date(2023, 1, 28), date(2023, 3, 1)) == [date(2023, 1, 30), last]
    assert ended.first_from(TODAY) == last
    assert ended.late_days(date(2023, 1, 30), now=now, grace=grace) == [last]
    assert ended.late_days(last, now=now, grace=grace) == []
    assert WEEKS.newest_loaded(["2023-01-30"]) == [Newest("", date(2023, 1, 30), date(2023, 2, 14))]
    assert WEEKS.newest_loaded(["2023-01-30", "2023-02-06"]) == []
    first = TREASURY_WEEKLY.first_day
    with pytest.raises(ConfigurationError, match="no partition 2023-02-13") as refused:
        WEEKS.partition_of("2023-02-13", today=TODAY, first_day=first)
    assert refused.value.found == "a day after 2023-02-06, the last partition"
    assert refused.value.remedy == "request another partition, e.g. 2023-02-06"
    later = "2026-01-05"  # an earlier version of the demo had such weeks
    assert WEEKS.partition_of(later, today=TODAY) == Partition(date(2026, 1, 5))
    assert WEEKS.newest_loaded([later]) == []


@pytest.mark.parametrize("month", ["2026-01", "01/2026", "2026-01-05", "20260101"])
def test_a_month_in_another_form_is_refused_where_it_is_listed_and_where_it_is_asked_for(month):
    months = TREASURY_MONTHLY.partitioning
    with pytest.raises(SourceError, match="treasuryMonthlyAggregates whose day names none") as bad:
        known_partitions(TREASURY_MONTHLY, [("2026-02-01",), (month,)])
    assert bad.value.found == month
    assert bad.value.expected == (
        "beginningOfTheMonthDate as yyyy-mm-dd, of a partition that a day 1 of a month names, "
        "e.g. 2026-01-01"
    )
    with pytest.raises(ConfigurationError, match="finra_treasury_monthly has no partition"):
        months.partition_of(month, today=TODAY)


def treasuries(*lines: str, dataset: FinraDataset = TREASURY_MONTHLY) -> Validated:
    """Return what becomes of lines of January 2026."""
    header = "|".join(field.name for field in dataset.fields)
    parts, january = [Part(1, "\n".join([header, *lines]).encode())], Partition(date(2026, 1, 1))
    return validate(
        dataset.contract,
        dataset.parse(parts, january),
        parts,
        partition_texts=dataset.partitioning.texts_of(january),
        record_total=len(lines),
        max_reject_ratio=0.5,
    )


def test_treasury_volumes_are_exact_billions_and_a_historic_month_is_of_no_partition():
    found = treasuries(
        "2026-01-01|Bills|||17354|9120|249.2|1308.30",
        "2026-01-01|FRNs|||120||2.4|",
        "2026-01-01|TIPS|<= 5 years|Off-the-run|||1.25|0",
    )
    assert found.rows.drop("part_number").rows() == [
        (date(2026, 1, 1), "Bills", "", "", 17354, 9120, 249_200_000, 1_308_300_000),
        (date(2026, 1, 1), "FRNs", "", "", 120, None, 2_400_000, None),
        (date(2026, 1, 1), "TIPS", "<= 5 years", "Off-the-run", None, None, 1_250_000, 0),
    ]
    assert outcomes(found) == {}
    historic = treasuries("2026-01|Bills|||1|1|1.0|1.0", "2026-01-01|FRNs|||1|1|1.0|1.0")
    assert outcomes(historic) == {"holds_only_its_partition": "failed"}
    assert historic.is_quarantined
    header = "historicalmonth|" + "|".join(field.name for field in TREASURY_MONTHLY.fields[1:])
    with pytest.raises(ContractError, match="lacks beginningOfTheMonthDate"):
        TREASURY_MONTHLY.parse([Part(1, header.encode())], Partition(date(2026, 1, 1)))


def test_a_file_is_named_by_its_partition():
    name = "finra_test_dataset_EAST_20260105.csv"
    assert PARTITIONS.file_name(EAST) == name
    assert PARTITIONS.partitions_in([name, "readme.txt"]) == [EAST]
    assert WEEKS.file_name(Partition(MONDAY)) == ("finra_treasury_weekly_20260105.csv")
    for wrong in ("other.csv", "finra_test_dataset_20260105.csv", name.replace("EAST", "NORTH")):
        with pytest.raises(ConfigurationError, match=f"the partition of the file {wrong}"):
            PARTITIONS.partitions_in([wrong])


def test_a_half_month_has_the_rows_of_its_settlement_date():
    partitions = SHORT_INTEREST.partitioning
    second = partitions.partition_of("2026-01-16", today=date(2026, 3, 1))
    assert check_filters_and_list_values(SHORT_INTEREST, second) == {"settlementDate": "2026-01-30"}
    assert partitions.scope_of(second) == {"settlement_date": date(2026, 1, 30)}
    listed = [("2026-01-30",), ("2026-01-15",), ("2026-02-13",)]
    known, _ = known_partitions(SHORT_INTEREST, listed)
    assert [partitions.key_of(partition) for partition in known] == [
        "2026-01-01",
        "2026-01-16",
        "2026-02-01",
    ]
    for wrong in ("2026-01-16", "2026-01-31", "2026-02-15", "9999-12-30", "0001-01-01"):
        with pytest.raises(SourceError, match="consolidatedShortInterest whose day names none"):
            known_partitions(SHORT_INTEREST, [(wrong,)])
    with pytest.raises(ConfigurationError, match="no partition 2026-01-15") as refused:
        partitions.partition_of("2026-01-15", today=TODAY)
    assert refused.value.expected == "<a past day 1 or 16 of a month, yyyy-mm-dd>"


def test_positions_may_be_empty_changes_negative_and_a_change_that_does_not_add_up_warns():
    names = [field.name for field in SHORT_INTEREST.fields]
    full = dict.fromkeys(names, "") | {
        "settlementDate": "2026-01-30",
        "symbolCode": "NA",
        "currentShortPositionQuantity": "900",
    }
    older = {"previousShortPositionQuantity": "1000", "changePercent": "-10.0"}
    rows = [
        full,
        full | older | {"symbolCode": "B", "changePreviousNumber": "-100", "revisionFlag": "R"},
        full | older | {"symbolCode": "C", "changePreviousNumber": "100"},
        full | {"symbolCode": "D", "currentShortPositionQuantity": "-1"},
    ]
    lines = ["|".join(names), *("|".join(row[name] for name in names) for row in rows)]
    parts, partition = [Part(1, "\n".join(lines).encode())], Partition(date(2026, 1, 16))
    found = validate(
        SHORT_INTEREST.contract,
        SHORT_INTEREST.parse(parts, partition),
        parts,
        partition_texts=SHORT_INTEREST.partitioning.texts_of(partition),
        record_total=4,
        max_reject_ratio=0.5,
    )
    columns = ("symbol", "short_change", "change_percent", "revision_flag")
    assert found.rows.select(columns).rows() == [
        ("B", -100, -10_000_000, "R"),
        ("C", 100, -10_000_000, None),
        ("NA", None, None, None),
    ]
    assert found.rejects["reason_code"].to_list() == ["negative_quantity"]
    assert outcomes(found) == {"has_changes_that_add_up": "failed"}
    assert not found.is_quarantined
