"""Queries in JSON of an outside API: pages by a total, two values, and lists of the source."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestration_project import (
    Calendar,
    Daily,
    Field,
    FieldList,
    Listing,
    Weekly,
    http_source,
    offsets,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.partitioning import Partition
from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.engine.own.contracts import (
    build_contract,
    declare_table,
    validate_documents,
)
from orchestration_project.engine.own.declarations import Dataset
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.errors import (
    ConfigurationError,
    MovedError,
    OrchestrationError,
    SourceError,
    TransientError,
    UnavailableError,
)
from orchestration_project.resources.own import OwnHttpSource, query_source
from tests.expecting import expect_type
from tests.faulty_server import FaultyServer, Reply
from tests.own.declared import dataset
from tests.saas_demo import http_client

WEEK = datetime(2026, 1, 5, tzinfo=UTC).date()
NORTH = Partition(WEEK, "north")
TOTAL = "X-Total"


class Noon(Clock):
    """A clock that stands at noon of the thirteenth."""

    def now(self):
        return datetime(2026, 1, 13, 12, tzinfo=UTC)


class Shop:
    """An API of sales by week and region, with at most two records on a page."""

    def __init__(self):
        self.records = [
            {"week": "2026-01-09", "region": "north", "name": name, "sold": number}
            for number, name in enumerate("ABCDE")
        ]
        self.listed = [{"of": ["2026-01-09", "north"]}, {"of": ["2026-01-09", "moon"]}]
        kinds = {"name": "string", "week": "day", "region": "string", "sold": "number"}
        self.fields = [{"field": name, "kind": kind} for name, kind in kinds.items()]
        self.spoil = lambda requested, reply: reply
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if request.method == "GET":
            found = self.listed if request.target == "/weeks" else self.fields
            return Reply(body=json.dumps({"data": {"all": found}}).encode())
        requested = json.loads(request.body)
        where = requested["where"]
        found = [record for record in self.records if where.items() <= record.items()]
        page = found[requested["skip"] :][: min(requested["take"], 2)]
        headers = {TOTAL: str(len(found))}
        reply = Reply(200, headers, json.dumps({"items": page}).encode()) if page else Reply(204)
        return self.spoil(requested, reply)

    @property
    def queries(self):
        return [json.loads(request.body) for request in self.requests if request.method == "POST"]


PAGING = offsets("skip", size=3, limit="take", total=TOTAL, max_offset=100)


KINDS = {"string": "String", "day": "Date", "number": "Number"}


def declare(url, **more):
    """Return the dataset of sales; rows have the Friday of a week that its Monday names."""
    given: dict[str, Any] = {
        "json_query": {"where": {"week": "{partition}", "region": "{value}"}},
        "paging": PAGING,
        "listing": Listing(f"{url}/weeks", path="data.all", member="of"),
        "field_list": FieldList(f"{url}/fields", "data.all", "field", "kind", KINDS),
        "concurrent_requests": 2,
        **more,
    }
    weeks = Weekly(
        "2026-01-05",
        column="week",
        value_column="region",
        values=["north", "south"],
        row_day=lambda monday: monday.replace(day=monday.day + 4),
    )
    fields = [Field("week", "date", "Friday"), Field("region", str, "where")]
    fields += [Field("sold", int, "how many")]
    source = http_source(f"{url}/sales", format="json", records="items", **given)
    return dataset(*fields, source=source, partitions=weeks)


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def opened(shop, tmp_path):
    """Return what opens the source of a declaration."""
    with (
        FaultyServer(shop) as server,
        http_client(tmp_path, "own") as http,
    ):

        def run(**more):
            made = declare(server.url, **more)
            source = expect_type(made.source, HttpSource)
            captures = Captures(FolderStore(tmp_path / "artifacts"))
            return made, query_source(OwnHttpSource(made, captures, Noon(), source, http))

        yield run


def test_short_pages_are_followed_until_the_total_and_read_twice(opened, shop):
    made, source = opened()
    kept = []
    found = source.extract(NORTH, kept)
    assert (found.record_total, list(found.captures)) == (5, kept)
    probe, *pages = shop.queries
    assert probe == {
        "where": {"week": "2026-01-09", "region": "north"},
        "take": 1,
        "skip": 0,
    }
    requested = sorted((page["skip"], page["take"]) for page in pages)
    assert requested == sorted([(0, 3), (2, 1), (3, 2)] * 2)
    contract = build_contract(made, *declare_table(made, "sample"), b"")
    validated = validate_documents(made, contract, [capture.body for capture in kept], NORTH)
    rows = validated.rows.select("week", "region", "name", "sold").rows()
    friday = datetime(2026, 1, 9, tzinfo=UTC).date()
    assert rows == [(friday, "north", name, number) for number, name in enumerate("ABCDE")]
    assert "has_all_rows_of_record_total" in contract.audits


def test_listed_partitions_are_known_and_other_values_are_reported(opened):
    _, source = opened()
    assert source.partitions() == ([NORTH], ["moon"])
    assert source.fields() == {
        "name": "String",
        "week": "Date",
        "region": "String",
        "sold": "Number",
    }
    with pytest.raises(UnavailableError, match="is not published"):
        source.extract(Partition(WEEK, "south"), [])


def test_without_a_list_the_calendar_names_each_value(opened):
    _, source = opened(listing=None, field_list=None)
    assert source.partitions().known == [NORTH, Partition(WEEK, "south")]
    assert source.fields() is None


FAULTS: dict[str, tuple[Any, type[OrchestrationError], str]] = {
    "another total": (
        lambda requested, reply: (
            Reply(200, {TOTAL: "6"}, reply.body) if requested["take"] > 1 else reply
        ),
        MovedError,
        "the source changed while it was read",
    ),
    "no record where some are missing": (
        lambda requested, reply: Reply(204) if requested["skip"] == 2 else reply,
        TransientError,
        "the pages ended before all records came",
    ),
    "no total": (
        lambda _, reply: Reply(200, {}, reply.body),
        SourceError,
        "a response has no count of records",
    ),
    "a page of another kind": (
        lambda requested, reply: (
            Reply(200, reply.headers, b"<html>") if requested["take"] > 1 else reply
        ),
        SourceError,
        "the answer cannot be used",
    ),
    "no record at all": (lambda *_: Reply(204), SourceError, "is empty for 2026-01-05 north"),
    "a refusal": (lambda *_: Reply(403), SourceError, "did not answer with a document"),
    "more than can be paged to": (
        lambda _, reply: Reply(200, {TOTAL: "104"}, reply.body),
        SourceError,
        "has more records for 2026-01-05 north than one may page to",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_records_that_do_not_add_up_are_refused(opened, shop, fault):
    spoil, kind, said = FAULTS[fault]
    shop.spoil = spoil
    _, source = opened()
    with pytest.raises(kind, match=said):
        source.extract(NORTH, [])


def test_rows_that_change_between_both_readings_are_refused(opened, shop):
    def change(_, reply):
        if len(shop.queries) == 4:  # the last page of the first reading
            shop.records[0]["sold"] += 1
        return reply

    shop.spoil = change
    _, source = opened(concurrent_requests=1)
    with pytest.raises(MovedError, match="changed while it was read"):
        source.extract(NORTH, [])


@pytest.mark.parametrize("listed", [[{"of": ["2026-01-09"]}], [{"other": 1}], "no list"])
def test_a_list_of_another_form_is_refused(opened, shop, listed):
    shop.listed = shop.fields = listed
    _, source = opened()
    with pytest.raises(SourceError, match="cannot be used") as refused:
        source.partitions()
    assert refused.value.expected == "a list of partitions, each with week and region"
    with pytest.raises(SourceError, match="cannot be used"):
        source.fields()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a query without a total": ({"paging": offsets(size=3)}, "invalid paging"),
    "a query without paging": ({"paging": None}, "invalid paging"),
    "a total without a query": ({"json_query": None}, "invalid json_query"),
    "a query beside parameters": ({"query": {"a": "b"}}, "invalid json_query"),
    "a place of a value that no partition has": (
        {"json_query": {"day": "{partition}", "region": "{value}"}},
        "invalid template of dataset",
    ),
    "no place of the partition": ({"json_query": {"where": {}}}, "invalid source of dataset"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_declaration_that_does_not_add_up_is_refused(case):
    given, said = WRONG[case]
    partitions = Daily("2026-01-01", column="day")
    paging = {"paging": PAGING, "json_query": {"day": "{partition}"}, **given}
    with pytest.raises(ConfigurationError, match=said):
        dataset(
            source=http_source("https://a.example/", format="json", **paging),
            partitions=partitions,
        )


def test_other_values_need_a_field_and_their_names():
    with pytest.raises(ConfigurationError, match="invalid values of partitions"):
        Daily("2026-01-01", value_column="region")
    regions = Daily("2026-01-01", value_column="regoin", values=["north"])
    with pytest.raises(ConfigurationError, match="invalid value_column") as refused:
        dataset(Field("region", str, "where"), partitions=regions)
    assert "region" in str(refused.value.remedy)


def test_closed_days_may_be_found_and_need_not_be_skipped():

    def is_closed(day):
        return day.day == 6

    for skips in (True, False):
        made = Daily(
            "2026-01-01", calendar=Calendar(closed=is_closed, skips=skips), until="2026-01-08"
        )
        assert (made.calendar.skips_holidays, made.calendar.is_holiday(WEEK)) == (skips, False)
        assert made.calendar.is_holiday(WEEK.replace(day=6))
        assert made.calendar.last_day == WEEK.replace(day=8)


SALES = """
type: orchestration_project.HttpDataset
attributes:
  name: sales
  key: [name]
  partitions:
    every: week
    since: 2026-01-05
    column: week
    until: 2026-12-28
    value_column: region
    values: [north, south]
  fields:
    - {name: name, type: text, description: its name}
    - {name: week, type: date, description: Monday}
    - {name: region, type: text, description: where}
  source:
    url: https://shop.example/sales
    format: json
    records: items
    json_query: {where: {week: "{partition}", region: "{value}"}}
    paging: {by: offsets, parameter: skip, size: 3, limit: take, total: X-Total}
    listing: {url: https://shop.example/weeks, path: data.all, member: of}
    field_list: {url: https://shop.example/fields, types: {string: String}}
"""


def test_a_file_declares_a_query_as_python_does():
    made = parse_dataset(SALES)
    assert isinstance(made, Dataset)
    assert isinstance(made.source, HttpSource)
    assert made.source.listing == Listing("https://shop.example/weeks", "data.all", "of")
    listed = FieldList("https://shop.example/fields", types={"string": "String"})
    assert made.source.field_list == listed
    assert made.source.json_query == {"where": {"week": "{partition}", "region": "{value}"}}
    assert made.partitions.values == ["north", "south"]
    assert str(made.partitions.calendar.last_day) == "2026-12-28"


def test_a_wrong_list_is_refused_with_its_line():
    with pytest.raises(ConfigurationError, match="invalid source file") as refused:
        parse_dataset(SALES.replace("member: of", "membre: of"))
    assert "line 23" in str(refused.value.found)
