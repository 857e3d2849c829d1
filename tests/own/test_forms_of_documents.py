"""Documents that have several partitions, in two forms: as a history with a column for each."""

from datetime import date

import pytest

from orchestration_project import Daily, Dataset, Document, Field, decimal, http_source
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.engine.own.partition_documents import (
    find_version,
    read_partitions,
    select_listings,
    select_names,
)
from orchestration_project.engine.own.records import build_counter
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.errors import ConfigurationError, SourceError
from tests.own.declared import dataset, read
from tests.own.test_formats import zipped

DAY, EARLIER = Partition(date(2026, 1, 5)), Partition(date(2026, 1, 2))
DOCUMENTS = [
    Document("newest.json", days=2, is_listing=False),
    Document("year_{partition:%Y}.json"),
]
HISTORY = b'Day,A,B,"C,D",\n2026-01-05,1,-,"2",\n2026-01-02,3,4,-,\n2026-01-01,-,-,,x\n'
RECENT = b'[{"on": "2026-01-05", "who": "A", "what": 1}, {"on": "2026-01-05", "who": "E"}]'


def declared(**more):
    """Return a dataset of JSON, and of a zipped history with a column for each name."""
    return dataset(
        Field("day", "date", "x", source="on"),
        Field("value", decimal(12, 2), "x", source="what", optional=True),
        source=http_source(
            "http://127.0.0.1/data",
            documents=DOCUMENTS,
            format="json",
            names={"name": "who"},
            null_values=["-"],
            skip_blank="what",
            zipped={
                "format": "csv",
                "names": {"on": "Day"},
                "unpivot": ["name", "what"],
            },
            expects="a list of values: JSON, or a zip with a CSV",
        ),
        partitions=Daily("2026-01-01", calendar="XECB", zone="Europe/Berlin"),
        max_reject_ratio=1,
        **more,
    )


def test_both_forms_have_the_same_records():
    made = declared()
    history, recent = zipped({"all.csv": HISTORY}), RECENT
    assert read(made, recent).rows["name"].to_list() == ["A"]
    assert read(made, history).rows["name"].to_list() == ["A", "C,D"]
    assert find_version(made, recent, DAY) == find_version(
        made, zipped({"a": b"Day,A\n2026-01-05,1\n"}), DAY
    )


def test_a_value_that_means_none_counts_between_the_first_and_the_last_one_alone():
    history = zipped({"all.csv": HISTORY.replace(b"2026-01-01,-", b"2026-01-01,5")})
    found = read(declared(), history, day="2026-01-02")
    assert found.rows.select("name", "value").rows() == [("A", 3), ("B", 4)]
    assert found.filtered == {"other_days": 3, "not_listed": 3, "blank": 0}
    between = HISTORY.replace(b"2026-01-02,3", b"2026-01-02,-").replace(b"01-01,-", b"01-01,5")
    found = read(declared(), zipped({"all.csv": between}), day="2026-01-02")
    assert found.rows.select("name", "value").rows() == [("A", None), ("B", 4)]


def test_each_cell_is_counted_apart_and_is_a_row_or_left_out():
    made, history = declared(), zipped({"all.csv": HISTORY})
    count = build_counter(made.source.reading)
    assert count is not None
    assert (count(history), count(history + b"more")[1]) == ((9, len(history)), len(history))
    assert count(history[:-40]) == (0, 0)
    found = read(made, history)
    assert sum(found.filtered.values()) + len(found.rows) == 8  # a column without a name is lost


def test_a_record_without_its_value_is_left_out():
    assert read(declared(), RECENT).filtered == {"other_days": 0, "not_listed": 0, "blank": 1}


def test_rejects_are_quoted_below_a_header_of_their_partition():
    history = zipped({"all.csv": HISTORY.replace(b"3,4", b"3,four")})
    found = read(declared(), history, day="2026-01-02")
    assert found.rejects.select("line_number", "record").rows() == [(3, "B,2026-01-02,four")]


def test_a_day_is_in_the_newest_document_or_in_that_of_its_year():
    made = declared()
    assert select_names(made, DAY, date(2026, 1, 6)) == ("newest.json",)
    assert select_names(made, EARLIER, date(2026, 1, 6)) == ("year_2026.json",)
    assert select_listings(made, None, date(2026, 1, 2)) == [
        "year_2025.json"
    ]  # the 1st is a holiday
    assert select_listings(made, date(2024, 12, 30), date(2026, 1, 6)) == [
        "year_2024.json",
        "year_2025.json",
        "year_2026.json",
    ]
    assert read_partitions(made, RECENT) == [DAY]


def test_a_document_without_records_is_refused():
    with pytest.raises(SourceError, match="the answer is not a list of values") as raised:
        read(declared(), b"[]")
    assert raised.value.found == "none"


@pytest.mark.parametrize("history", [HISTORY + b"2025-12-31,1\n", HISTORY[1:], b"Day\n\xff"])
def test_another_document_is_refused_with_what_was_expected(history):
    with pytest.raises(SourceError, match="the answer is not a list of values") as raised:
        read(declared(), zipped({"all.csv": history}))
    assert raised.value.expected == "JSON, or a zip with a CSV"


YEARLY = b"on,who,what\n2026-01-02,A (x),1\n2026-01-05,B (y),2\n"


def yearly(**options):
    """Return a dataset of a CSV per year, whose names end with a letter in parentheses."""
    return dataset(
        Field("day", "date", "x", source="on"),
        Field("value", int, "x", source="what"),
        Field("letter", str, "x", optional=True),
        source=http_source(
            "http://127.0.0.1/data",
            documents=[Document("year_{partition:%Y}.csv")],
            format="csv",
            names={"name": "who"},
            extract={"letter": ("name", r"\((\w)\)$")},
            **options,
        ),
        max_reject_ratio=1,
    )


def test_a_part_of_a_field_is_a_field():
    assert read(yearly(), YEARLY).rows.select("name", "letter").rows() == [("B (y)", "y")]
    without = YEARLY.replace(b" (y)", b"")
    assert read(yearly(), without).rows.select("name", "letter").rows() == [("B", None)]


def test_a_line_with_too_many_fields_is_rejected_on_its_day_alone():
    made, body = yearly(), YEARLY.replace(b"B (y)", b"B, (y)")
    assert read(made, body).rejects["reason_code"].to_list() == ["wrong_field_count"]
    earlier = read(made, body, day="2026-01-02")
    assert (len(earlier.rejects), earlier.filtered) == (0, {"other_days": 1})
    assert read_partitions(made, body) == [EARLIER, DAY]
    assert find_version(made, body, EARLIER) == find_version(made, YEARLY, EARLIER)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (YEARLY + b"2025-12-31,C (z),3\n", "days of one document"),
        (YEARLY + b"01/06/2026,C (z),3\n", "records that have a day, yyyy-mm-dd"),
        (YEARLY + b"\n\n", "records that have a day, yyyy-mm-dd"),
        (YEARLY + b"2026-01-05,C", "a whole last line"),
    ],
)
def test_a_document_with_days_of_another_or_without_a_day_is_refused(body, expected):
    with pytest.raises(SourceError, match="cannot be read") as raised:
        read_partitions(yearly(), body)
    assert raised.value.expected == expected


@pytest.mark.parametrize(
    ("wrong", "options"),
    [
        ("unpivot", {"format": "csv", "unpivot": ["name"]}),
        ("zipped", {"format": "csv", "zipped": {"parse": list}}),
        ("extract", {"format": "csv", "extract": {"letter": ("name", "no group")}}),
        ("extract", {"format": "csv", "extract": {"letter": ("name", "(")}}),
        ("extract", {"format": "csv", "extract": {"letter": ("(.)",)}}),
        ("extract", {"parse": list, "extract": {"letter": ("name", "(.)")}}),
        ("documents", {"format": "csv", "documents": DOCUMENTS, "bearer": "TOKEN"}),
        ("template", {"format": "csv", "documents": [Document("{year}.csv")]}),
    ],
)
def test_wrong_options_are_refused(wrong, options):
    with pytest.raises(ConfigurationError, match=f"invalid {wrong}"):
        http_source("http://127.0.0.1/{partition}", **options)


def test_a_declared_version_of_rules_stands_for_their_hash():
    text = """\
type: orchestration_project.HttpDataset
attributes:
  name: sizes
  key: [name]
  partitions: {every: day, since: "2026-01-02", zone: Europe/Berlin, column: day_of}
  fields:
    - {name: day_of, type: date, description: x}
    - {name: name, type: text, description: x}
  source:
    url: https://api.example/
    documents: [{name: "{partition}.csv", days: 2}]
    format: csv
    extract: {name: [title, "^(.)"]}
    zipped: {format: csv, skip: 1}
  rule_version: "3"
"""
    made = parse_dataset(text)
    assert isinstance(made, Dataset)
    assert (made.rule_version, made.partitions.calendar.zone) == ("3", "Europe/Berlin")
    assert isinstance(made.source, HttpSource)
    assert made.source.reading.zipped is not None
    assert made.source.documents == (Document("{partition}.csv", days=2),)
    assert made.source.reading.extract == {"name": ("title", "^(.)")}
    assert made.source.reading.zipped.skip == 1
