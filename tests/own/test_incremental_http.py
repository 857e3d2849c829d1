"""Sources over HTTP that are asked for what is new: each record is loaded once."""

import json
from contextlib import ExitStack, contextmanager

import pytest

from orchestration_project import (
    Daily,
    Dataset,
    Document,
    Field,
    Monthly,
    cursor,
    http_source,
    incremental,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.own.attributes import parse_dataset
from orchestration_project.engine.own.sources import HttpSource
from orchestration_project.engine.warehouse import SupersededError
from orchestration_project.errors import ConfigurationError, SourceError, UnavailableError
from orchestration_project.resources.own import OwnHttpSource
from tests.faulty_server import FaultyServer, Reply
from tests.http_clients import make_client
from tests.own.declared import dataset
from tests.own.dlt_loading import DAY, NEXT_DAY, Loading, Noon

THIRD_DAY = "2026-01-07"
SINCE = incremental("since", field="at", initial="2026-01-01T00:00:00Z")
AT = Field("at", "timestamp", "time of the change")


class Api:
    """An API of changes; a page has two, and those with the time that was asked for come again."""

    def __init__(self):
        self.rows = []
        self.requested = []
        self.is_ordered = True

    def add(self, name, hour):
        self.rows.append({"name": name, "at": f"2026-01-05T{hour:02}:00:00Z"})

    def answer(self, request):
        query = dict(part.split("=") for part in request.target.partition("?")[2].split("&"))
        since = query["since"].replace("%3A", ":")
        self.requested.append(since)
        found = [row for row in self.rows if not self.is_ordered or row["at"] >= since]
        first = int(query.get("after", 0))
        following = first + 2 if first + 2 < len(found) else None
        body = {"rows": found[first : first + 2], "next": str(following) if following else None}
        return Reply(200, {}, json.dumps(body).encode())


class HttpLoading(Loading):
    """Loads of datasets over HTTP."""

    url = ""

    @contextmanager
    def source(self, declared):
        with make_client(self.folder, "shop", use_environment=False, max_attempts=1) as http:
            yield OwnHttpSource(
                declared,
                Captures(self.store),
                Noon(),
                declared.source,
                http,
                lambda partition: self.start(declared, partition.label),
            )

    def days(self, declared):
        return [(f"{day}", name) for day, name in self.rows(declared, "day", "name")]


@pytest.fixture
def api():
    found = Api()
    found.add("A", 1)
    found.add("B", 2)
    found.add("C", 2)
    return found


@pytest.fixture
def shop(loading, api):
    """Loads from the API into either database."""
    with FaultyServer(api.answer) as server:
        made = HttpLoading(loading.warehouse, loading.folder)
        made.url = server.url
        yield made


def declared_of(shop, **more):
    source = http_source(
        f"{shop.url}/changes",
        format="json",
        records="rows",
        paging=cursor("after", path="next"),
        incremental=SINCE,
    )
    return dataset(AT, source=source, partitions=Daily("2026-01-01"), **more)


@pytest.mark.slow_after_first
def test_a_partition_has_what_was_new_and_a_repeated_record_is_not_loaded_twice(shop, api):
    declared = declared_of(shop)
    shop.load(declared)
    api.add("D", 2)  # with the time of the newest ones, later
    api.add("E", 3)
    shop.load(declared, NEXT_DAY)
    assert shop.days(declared) == [
        *((DAY, name) for name in "ABC"),
        *((NEXT_DAY, name) for name in "DE"),
    ]
    assert api.requested == [SINCE.initial] * 2 + ["2026-01-05T02:00:00Z"] * 2
    assert [json.loads(state.state)["value"][11:13] for state in shop.states(declared)] == [
        "02",
        "03",
    ]
    with pytest.raises(UnavailableError, match="has nothing for 2026-01-07"):
        shop.load(declared, THIRD_DAY)
    assert len(shop.states(declared)) == 2


@pytest.mark.slow_after_first
def test_the_newest_partition_is_read_again_from_where_it_began_and_no_earlier_one(shop, api):
    declared = declared_of(shop)
    shop.load(declared)
    api.add("D", 4)
    shop.load(declared, NEXT_DAY)
    api.add("E", 5)
    shop.load(declared, NEXT_DAY)
    assert [name for day, name in shop.days(declared) if day == NEXT_DAY] == ["D", "E"]
    with pytest.raises(SourceError, match="cannot be read again"):
        shop.load(declared)
    with shop.source(declared) as source:
        assert [partition.label for partition in source.partitions().known] == [THIRD_DAY]


@pytest.mark.slow_after_first
def test_a_replay_makes_the_same_rows_without_the_source(shop, api):
    declared = declared_of(shop)
    shop.load(declared)
    api.add("D", 3)
    shop.load(declared, NEXT_DAY)
    before, count = shop.rows(declared), len(api.requested)
    for day in (DAY, NEXT_DAY):
        shop.replay(declared, day)
    assert (shop.rows(declared), len(api.requested)) == (before, count)
    assert len(shop.states(declared)) == 2


@pytest.mark.slow_after_first
def test_of_two_loads_that_start_from_one_state_one_is_loaded(shop, api):
    declared = declared_of(shop)
    with ExitStack() as stack:
        first, second = (stack.enter_context(shop.from_source(declared)) for _ in range(2))
        taken = [first.take(DAY), second.take(NEXT_DAY)]
        first.write_batch(taken[0])
        with pytest.raises(SupersededError):
            second.write_batch(taken[1])
    assert {day for day, _ in shop.days(declared)} == {DAY}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("at", ["yesterday", "", None, "2026-01-05T02:00:00"])
def test_a_record_without_a_time_is_a_failure_and_not_an_absence(shop, api, at):
    declared = declared_of(shop)
    api.rows.append({"name": "D", "at": at})
    api.is_ordered = False
    with pytest.raises(SourceError, match="cannot be read"):
        shop.load(declared)
    assert shop.days(declared) == []


@pytest.mark.slow_after_first
def test_a_source_that_ignores_the_parameter_is_a_failure(shop, api):
    declared = declared_of(shop)
    shop.load(declared)
    api.is_ordered = False
    with pytest.raises(SourceError, match="older than what was requested") as raised:
        shop.load(declared, NEXT_DAY)
    assert (raised.value.expected, raised.value.found) == (
        "at from 2026-01-05T02:00:00Z on",
        "2026-01-05T01:00:00Z",
    )


def test_a_growing_number_and_yaml_declare_the_same():
    text = """\
type: orchestration_project.HttpDataset
attributes:
  name: changes
  key: [name]
  partitions: {every: day, since: "2026-01-02"}
  fields: [{name: name, type: text, description: x}, {name: n, type: integer, description: x}]
  source:
    url: https://api.example/changes
    format: json
    incremental: {parameter: since, field: n, initial: "0"}
"""
    made = parse_dataset(text)
    assert isinstance(made, Dataset)
    assert isinstance(made.source, HttpSource)
    assert made.is_incremental
    assert made.source.incremental == incremental("since", field="n", initial="0")


@pytest.mark.parametrize(
    ("field", "more", "expected"),
    [
        (Field("at", str, "x"), {}, "integer, date, timestamp"),
        (Field("at", "timestamp", "x", optional=True), {}, "a required field"),
        (Field("other", int, "x"), {}, "a required field"),
        (AT, {"documents": [Document("all.json")]}, "no paging, headers, query"),
    ],
)
def test_what_does_not_grow_is_refused(field, more, expected):
    with pytest.raises(ConfigurationError) as raised:
        dataset(
            field,
            source=http_source("https://a.example/", format="json", incremental=SINCE, **more),
            partitions=Monthly("2026-01-01"),
        )
    assert expected in raised.value.expected


def test_a_field_with_the_day_is_refused():
    source = http_source("https://a.example/", format="json", incremental=SINCE)
    with pytest.raises(ConfigurationError, match="invalid partitions") as raised:
        dataset(AT, Field("day", "date", "x"), source=source)
    assert "rows that were new then" in raised.value.expected
