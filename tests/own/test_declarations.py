"""Wrong declarations are refused with what was expected and found."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

import orchestration_project
from orchestration_project import (
    Calendar,
    Daily,
    Field,
    Monthly,
    Weekly,
    between,
    decimal,
    derived,
    file_source,
    http_source,
    judge_sample,
    matches,
    one_of,
    positive,
    row_count,
    usual_size,
)
from orchestration_project.engine.own.attributes import PartitionsAttributes
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.own import published_partitions
from tests.own.declared import dataset, read


def no_records(_):
    return []


URL = "https://api.example/{partition}"
NO_CHECK: Any = max
LISTED: Any = ["DE", "FR"]


def test_the_names_that_a_project_may_use_are_these():
    assert sorted(orchestration_project.__all__) == [
        "Calendar",
        "Daily",
        "Dataset",
        "Document",
        "Field",
        "FieldList",
        "Listing",
        "Monthly",
        "Weekly",
        "between",
        "client_credentials",
        "cursor",
        "decimal",
        "derived",
        "dlt_source",
        "file_source",
        "http_source",
        "incremental",
        "judge_sample",
        "link_header",
        "load_definitions",
        "matches",
        "next_url",
        "offsets",
        "one_of",
        "pages",
        "positive",
        "release",
        "row_count",
        "usual_size",
    ]
    for name in orchestration_project.__all__:
        assert getattr(orchestration_project, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Weakly'"):
        _ = orchestration_project.Weakly


WRONG = {
    "a name with a capital": (lambda: Field("Rate", str, "x"), "small letters", "Rate"),
    "a column of ours": (lambda: Field("known_from", str, "x"), "no column of ours", "known_from"),
    "an unknown type": (lambda: Field("rate", float, "x"), "decimal(12, 6)", "float"),
    "no description": (lambda: Field("rate", int, ""), "what it is", "nothing"),
    "a check that is none": (lambda: Field("rate", int, "x", check=NO_CHECK), "positive", "max"),
    "a pattern for a number": (
        lambda: Field("rate", int, "x", check=matches("a")),
        "type integer",
        "one of text",
    ),
    "positive for a day": (lambda: Field("at", "date", "x", check=positive), "type date", "above"),
    "an invalid pattern": (lambda: matches("("), "regular expression", "("),
    "too many digits": (lambda: decimal(19, 2), "1 to 18", "decimal(19, 2)"),
    "more decimals than digits": (lambda: decimal(2, 4), "0 to 12 digits", "decimal(2, 4)"),
    "more digits than 64 bits keep": (lambda: decimal(18, 2), "0 to 12", "decimal(18, 2)"),
    "an unknown calendar": (lambda: Daily("2026-01-01", calendar="XNYSE"), "holidays", "XNYSE"),
    "an impossible day": (lambda: Daily("2026-02-30"), "2024-01-02", "2026-02-30"),
    "an unknown zone": (
        lambda: Daily("2026-01-01", published="16:15 Mars"),
        "16:15 Europe/Berlin",
        "16:15 Mars",
    ),
    "an unknown weekday": (lambda: Weekly("2026-01-01", weekday="Freitag"), "Friday", "Freitag"),
    "a day that few months have": (lambda: Monthly("2026-01-01", day=31), "1 to 28", "31"),
    "a URL without a scheme": (lambda: http_source("api.example/x", format="csv"), "https", "api"),
    "an unknown place": (
        lambda: http_source(URL + "{page}", format="csv"),
        "{partition}",
        "{page}",
    ),
    "an unknown format": (lambda: http_source(URL, format="cvs"), "csv, json", "cvs"),
    "an unknown directive": (
        lambda: http_source("https://api.example/{partition:%Y-%Q}", format="csv"),
        "directives of strftime",
        "%Y-%Q",
    ),
    "a text in place of a list": (lambda: dataset(key="name"), "such as ['name']", "'name'"),
    "a list in place of texts": (lambda: one_of(LISTED), "texts", "['DE', 'FR']"),
    "a text in place of days": (
        lambda: Calendar(weekdays="Monday"),
        "such as ['Monday']",
        "'Monday'",
    ),
    "a field that is none": (lambda: dataset(("rate", int)), "Field(", "('rate'"),
    "partitions in a word": (lambda: dataset(partitions="daily"), "Daily(…)", "'daily'"),
    "an address alone": (lambda: dataset(source=URL), "http_source(…)", URL),
    "two columns with one name in SQL": (
        lambda: dataset(Field("rate", decimal(8, 2), "x"), Field("rate_micros", int, "x")),
        "no column rate_micros",
        "rate_micros",
    ),
    "a word that SQLite takes for SQL": (
        lambda: Field("nothing", int, "x"),
        "a name of small letters",
        "nothing",
    ),
    "a text in place of the key of a derived table": (
        lambda: derived("sums", key="name", fields=[Field("name", str, "x")], sql="SELECT 1"),
        "such as ['name']",
        "'name'",
    ),
    "no format and no function": (lambda: http_source(URL), "csv, json", "''"),
    "both": (lambda: http_source(URL, format="csv", parse=no_records), "not both", "csv"),
    "a rate in words": (lambda: http_source(URL, format="csv", rate="slow"), "2/s", "slow"),
    "a secret in place of its name": (
        lambda: http_source(URL, format="csv", bearer="s3cr3t-token"),
        "environment variable",
        "another text",
    ),
    "a cursor in a CSV": (
        lambda: http_source(
            URL, format="csv", paging=orchestration_project.cursor("c", path="next")
        ),
        "format json",
        "csv",
    ),
    "a ratio above 1": (lambda: usual_size(50), "at most 1", "50"),
    "a count below 0": (lambda: row_count(-1), "0 <= min", "min -1"),
    "an unknown key": (lambda: dataset(key=["nam"]), "names of its fields", "nam"),
    "an optional key": (
        lambda: dataset(Field("code", str, "x", optional=True), key=["name", "code"]),
        "required fields",
        "code",
    ),
    "a decimal as key": (
        lambda: dataset(Field("rate", decimal(8, 2), "x"), key=["rate"]),
        "types text, integer",
        "rate",
    ),
    "no key": (lambda: dataset(key=[]), "at least one", "none"),
    "a field twice": (lambda: dataset(Field("name", int, "x")), "each name once", "name twice"),
    "a day that is a text": (
        lambda: dataset(Field("day", str, "x")),
        "a date, as it names partitions",
        "text",
    ),
    "a URL without its partition": (
        lambda: dataset(source=http_source("https://api.example/all", format="csv")),
        "an address with {partition}",
        "the same address",
    ),
    "a subject with a function": (
        lambda: dataset(
            Field("mail", str, "x", subject="person"), source=http_source(URL, parse=no_records)
        ),
        "a source with a format",
        "parse=",
    ),
    "a subject that is a number": (
        lambda: Field("id", int, "x", subject="person"),
        "a text",
        "'person' of integer",
    ),
    "a subject of two words": (
        lambda: Field("id", str, "x", subject="my person"),
        "one word",
        "'my person'",
    ),
    "a share of rejects above 1": (lambda: dataset(max_reject_ratio=2), "0 to 1", "2"),
    "a check of a field as that of a delivery": (
        lambda: dataset(checks=[between(1, 2)]),
        "row_count",
        "FieldCheck",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_declaration_says_what_was_expected_and_found(case):
    make, expected, found = WRONG[case]
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert expected in raised.value.expected
    assert found in raised.value.found
    assert raised.value.what.startswith("invalid ")


def test_an_argument_that_is_misspelt_is_named():
    options: Any = {"baerer": "MY_KEY"}
    with pytest.raises(ConfigurationError, match="did you mean bearer"):
        http_source(URL, format="csv", **options)


def test_a_secret_in_a_declaration_is_not_repeated():
    with pytest.raises(ConfigurationError) as raised:
        http_source(URL, format="csv", secret_headers={"X-Key": "s3cr3t-token"})
    assert "s3cr3t" not in str(raised.value)


def test_a_calendar_names_its_business_days_and_a_day_without_one_each():
    every = Daily("2026-01-01").calendar
    sessions = Daily("2026-01-01", calendar="XNYS", published="18:00 America/New_York").calendar
    days = [every.first_from(Daily(f"2026-01-0{number}").since) for number in range(1, 8)]
    assert [day.day for day in days if every.names(day)] == [1, 2, 3, 4, 5, 6, 7]
    open_days = [day.day for day in days if sessions.names(day) and not sessions.is_holiday(day)]
    assert open_days == [2, 5, 6, 7]
    assert (sessions.zone, sessions.delay_days, every.cron) == ("America/New_York", 0, "0 0 * * *")


def test_a_file_may_stand_for_each_partition():
    declared = file_source("in/{partition:%Y%m%d}.csv", format="csv", delimiter=";")
    assert (declared.path, declared.reading.delimiter) == ("in/{partition:%Y%m%d}.csv", ";")


def test_texts_may_be_limited_to_some():
    assert one_of("buy", "sell").says == "one of buy, sell"


def test_a_sample_is_judged_as_a_load_would_judge_it(tmp_path):
    declared = dataset(Field("rate", int, "its rate", check=positive), checks=[row_count(min=2)])
    page = tmp_path / "second.csv"
    page.write_text("name,rate\nB,-1\n")
    judged = judge_sample(declared, b"name,rate\nA,1\n", page, partition="2026-01-05")
    assert [(row["name"], row["rate"]) for row in judged.rows] == [("A", 1)]
    assert judged.rejects == [("not_positive", "rate is not above 0: -1")]
    assert judged.failed == ["has_few_rejects", "has_row_count_within_limits"]


@pytest.mark.parametrize(
    ("calendar", "days"),
    [
        ("", ["2026-12-23", "2026-12-24", "2026-12-25", "2026-12-26", "2026-12-27", "2026-12-28"]),
        ("XNYS", ["2026-12-23", "2026-12-24", "2026-12-28"]),
        (Calendar(market="XNYS", closed=["2026-12-24"]), ["2026-12-23", "2026-12-28"]),
        (Calendar(closed=[date(2026, 12, 28)]), ["2026-12-23", "2026-12-24", "2026-12-25"]),
        (Calendar(weekdays=["Saturday", "Monday"]), ["2026-12-26", "2026-12-28"]),
    ],
)
def test_a_calendar_says_for_which_days_there_are_partitions(calendar, days):
    declared = Daily("2026-12-23", calendar=calendar)
    after = datetime(2026, 12, 29, 12, tzinfo=UTC)
    listed = published_partitions(declared, after, None)
    assert [partition.day.isoformat() for partition in listed] == days


def test_a_calendar_in_yaml_is_the_same():
    attributes = PartitionsAttributes.model_validate(
        {"every": "day", "since": "2026-12-23", "calendar": {"closed": ["2026-12-24"]}},
        context={},
    )
    calendar = attributes.made().calendar
    assert calendar.is_holiday(date(2026, 12, 24))
    assert not calendar.is_holiday(date(2026, 12, 23))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"market": "XNYX"}, "a market of the library holidays"),
        ({"closed": ["24.12.2026"]}, "a day such as 2024-01-02"),
        ({"weekdays": ["Sun"]}, "Monday, Tuesday"),
        ({"weekdays": []}, "Monday, Tuesday"),
    ],
)
def test_a_wrong_calendar_is_refused(given, expected):
    with pytest.raises(ConfigurationError) as raised:
        Calendar(**given)
    assert str(raised.value.expected).startswith(expected)


def test_audits_have_no_personal_values():
    declared = dataset(Field("email", str, "address", personal=True), Field("rate", int, "rate"))
    validated = read(declared, b"name,email,rate\nA,ada@example.org,1\nA,eve@example.org,x\n")
    repeated = read(declared, b"name,email,rate\nA,ada@example.org,1\nA,ada@example.org,2\n")
    [few] = [audit for audit in validated.audits if audit.name == "has_few_rejects"]
    [offender] = few.offenders
    assert offender == {"part_number": 1, "line_number": 3, "reason_code": "not_an_amount"}
    audits = [*validated.audits, *repeated.audits]
    assert not [audit for audit in audits if "example.org" in audit.offenders_json]
