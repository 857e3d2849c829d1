"""`rest_api` of dlt over a real server: pages, a key, restatements, replays without a network."""

import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from dlt.sources.rest_api import rest_api_source

from orchestration_project import Daily, Field, decimal, dlt_source
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.errors import (
    ConfigurationError,
    SourceError,
    ThrottledError,
    TransientError,
    UnavailableError,
)
from tests.faulty_server import FaultyServer, Reply, dropped
from tests.own.declared import dataset
from tests.own.dlt_loading import DAY, KEY, NEXT_DAY, page

PAGE = 2


class Shop:
    """An API with a key in a header, and cursor paging; a test may change its orders."""

    def __init__(self):
        self.prices = {"A": "1.10", "B": "2.20", "C": "3.30", "D": "4.40", "E": "5.50"}
        self.faults = {}
        self.server: Any = None

    def __call__(self, request):
        if request.headers.get("x-api-key") != KEY:
            return Reply(401)
        path, _, query = request.target.partition("?")
        given = dict(pair.split("=") for pair in query.split("&") if pair)
        start = int(given.get("after", 0))
        if fault := self.faults.get(start):
            return fault
        if path.startswith("/lines/"):
            return page([{"sku": f"{path[7:]}1"}, {"sku": f"{path[7:]}2"}])
        rows = [
            {"name": name, "price": {"close": float(price)}, "day": given.get("day", "")}
            for name, price in list(self.prices.items())[start : start + PAGE]
        ]
        following = start + PAGE if start + PAGE < len(self.prices) else None
        return page(rows, following)


@pytest.fixture
def shop():
    answers = Shop()
    with FaultyServer(answers) as server:
        answers.server = server
        yield answers


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("SHOP_KEY", KEY)


def api_of(shop, resources=None):
    """Return a function that makes a source of the shop's API."""

    def make(day, key) -> Any:
        return rest_api_source(
            {
                "client": {
                    "base_url": shop.server.url,
                    "auth": {"type": "api_key", "name": "X-Api-Key", "api_key": key},
                    "paginator": {
                        "type": "cursor",
                        "cursor_path": "meta.next",
                        "cursor_param": "after",
                    },
                },
                "resources": resources
                or [
                    {
                        "name": "orders",
                        "endpoint": {
                            "path": "orders",
                            "params": {"day": day.isoformat()},
                            "data_selector": "data.rows",
                        },
                    }
                ],
            }
        )

    return make


def orders(shop, **more):
    """Return a dataset of the shop's orders."""
    secrets = {"key": "SHOP_KEY"}
    source = dlt_source(api_of(shop), resource="orders", secrets=secrets, retries=1)
    return dataset(
        Field("price", decimal(8, 2), "euros", source="price.close", optional=True),
        source=source,
        **more,
    )


@pytest.mark.slow_after_first
def test_pages_are_captured_before_they_are_parsed_and_a_replay_needs_no_network(loading, shop):
    declared = orders(shop)
    assert loading.load(declared).row_count == 5
    first = loading.rows(declared, "name", "price")
    assert first == [(name, Decimal(price)) for name, price in shop.prices.items()]
    assert [request.target for request in shop.server.requests] == [
        f"/orders?day={DAY}",
        f"/orders?day={DAY}&after=2",
        f"/orders?day={DAY}&after=4",
    ]
    shop.prices["B"] = "9.90"
    loading.load(declared)
    assert loading.rows(declared, "name", "price")[1] == ("B", Decimal("9.90"))
    requested = len(shop.server.requests)
    with loading.warehouse.reading() as connection:
        group = connection.exec_driver_sql("SELECT min(group_id) FROM deliveries").scalar()
    loading.replay(declared, group_id=group, allow_older=True)
    assert loading.rows(declared, "name", "price") == first
    assert len(shop.server.requests) == requested


@pytest.mark.slow_after_first
def test_a_row_is_of_the_page_that_it_came_in(loading, shop):
    declared = orders(shop)
    loading.load(declared)
    by_capture = {}
    for name, capture in loading.rows(declared, "name", "capture_id"):
        by_capture.setdefault(capture, []).append(name)
    assert sorted(by_capture.values()) == [["A", "B"], ["C", "D"], ["E"]]


@pytest.mark.slow_after_first
def test_a_key_is_in_no_capture_log_or_row(loading, shop, caplog):
    caplog.set_level("DEBUG")
    echo = json.dumps({"data": {"rows": [{"name": "Z"}]}, "meta": {"next": None, "by": KEY}})
    shop.faults[4] = Reply(headers={"X-By": KEY}, body=echo.encode())
    declared = orders(shop)
    loading.load(declared)
    rows, bodies = loading.captured()
    assert KEY not in rows
    assert KEY.encode() not in bodies
    assert b'"by": "***"' in bodies
    assert KEY not in caplog.text
    assert KEY not in repr(declared)


@pytest.mark.slow_after_first
def test_a_key_in_the_query_is_recorded_without_it_and_replayed_without_it(
    loading, shop, monkeypatch
):
    def make(day, key):
        return rest_api_source(
            {
                "client": {"base_url": shop.server.url, "headers": {"X-Api-Key": key}},
                "resources": [
                    {
                        "name": "orders",
                        "endpoint": {
                            "path": "orders",
                            "params": {"apikey": key, "v": f"{day}"},
                            "data_selector": "data.rows",
                            "paginator": "single_page",
                        },
                    }
                ],
            }
        )

    declared = dataset(source=dlt_source(make, secrets={"key": "SHOP_KEY"}))
    loading.load(declared)
    assert KEY in shop.server.requests[0].target
    rows, _ = loading.captured()
    assert KEY not in rows
    assert "apikey=***" in rows
    monkeypatch.delenv("SHOP_KEY")
    assert loading.replay(declared).row_count == PAGE


@pytest.mark.slow_after_first
def test_a_token_is_fetched_again_for_each_read_and_captured_never(loading):
    def answer(request):
        if request.target == "/token":
            return Reply(body=b'{"access_token": "t0ken-t0ken-t0ken", "expires_in": 60}')
        if request.headers.get("authorization") != "Bearer t0ken-t0ken-t0ken":
            return Reply(401)
        return page([{"name": "A"}])

    def make(day, secret):
        api = rest_api_source(
            {
                "client": {
                    "base_url": server.url,
                    "auth": {
                        "type": "oauth2_client_credentials",
                        "access_token_url": f"{server.url}/token",
                        "client_id": "me",
                        "client_secret": secret,
                    },
                    "paginator": "single_page",
                },
                "resources": [
                    {"name": "x", "endpoint": {"path": "x", "data_selector": "data.rows"}}
                ],
            }
        )
        return api.x.add_map(lambda row: {**row, "of": day})

    with FaultyServer(answer) as server:
        declared = dataset(
            Field("of", date, "day"), source=dlt_source(make, secrets={"secret": "SHOP_KEY"})
        )
        loading.load(declared)
        requested = len(server.requests)
        loading.replay(declared)
        assert len(server.requests) == requested == 2
    assert loading.rows(declared, "name", "of") == [("A", date(2026, 1, 5))]
    rows, bodies = loading.captured()
    assert b"t0ken" not in bodies
    assert "/token" not in rows


def parents():
    """Return the resources of orders and of their lines, each of which is a request."""
    return [
        {"name": "parent", "endpoint": {"path": "orders", "data_selector": "data.rows"}},
        {
            "name": "orders",
            "include_from_parent": ["name"],
            "endpoint": {
                "path": "lines/{resources.parent.name}",
                "data_selector": "data.rows",
            },
        },
    ]


@pytest.mark.slow_after_first
def test_rows_of_child_requests_are_replayed_from_their_answers(loading, shop):
    make = api_of(shop, parents())
    declared = dataset(
        Field("sku", str, "article"),
        Field("price", decimal(8, 2), "euros", source="price.close", optional=True),
        key=("sku",),
        source=dlt_source(
            lambda day, key: make(day, key).orders.add_map(
                lambda row: {"name": row["_parent_name"], **row}
            ),
            secrets={"key": "SHOP_KEY"},
        ),
    )
    loading.load(declared)
    loaded = loading.rows(declared, "name", "sku")
    assert loaded == [(name, f"{name}{n}") for name in "ABCDE" for n in "12"]
    requested = len(shop.server.requests)
    assert requested == 3 + 5
    loading.replay(declared)
    assert loading.rows(declared, "name", "sku") == loaded
    assert len(shop.server.requests) == requested


@pytest.mark.slow_after_first
def test_a_corrected_function_is_applied_by_a_replay(loading, shop):
    factor = [1]

    def make(day, key):
        source = api_of(shop)(day, key)
        return source.orders.add_map(lambda row: {**row, "cents": factor[0] * 10})

    declared = dataset(
        Field("cents", int, "cents"), source=dlt_source(make, secrets={"key": "SHOP_KEY"})
    )
    loading.load(declared)
    factor[0] = 3
    loading.replay(declared)
    assert {cents for (cents,) in loading.rows(declared, "cents")} == {30}


HTML = Reply(headers={"Content-Type": "text/html"}, body=b"<html>maintenance</html>")
CUT = Reply(headers={"Content-Length": "500"}, body=b'{"data": {"rows": [')
FAULTS = {
    "too many requests": (Reply(429), ThrottledError),
    "a fault of the source": (Reply(500), TransientError),
    "a connection that is closed": (dropped(), TransientError),
    "a body that ends early": ([CUT.raw()], TransientError),  # and closes the connection
    "half a document": (Reply(body=b'{"data": {"rows": [{"na'), SourceError),
    "a page of HTML": (HTML, SourceError),
    "an answer without records": (Reply(body=b'{"error": "busy"}'), SourceError),
    "a refusal": (Reply(403), SourceError),
    "a missing page": (Reply(404), SourceError),
    "a redirect to another host": (
        Reply(302, {"Location": "http://localhost:1/orders"}),
        SourceError,
    ),
}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_middle_is_a_failure_and_never_a_shorter_table(loading, shop, fault):
    answer, error = FAULTS[fault]
    declared = orders(shop)
    shop.faults[2] = answer
    with pytest.raises((SourceError, TransientError)) as raised:
        loading.load(declared)
    assert type(raised.value) is error
    assert KEY not in str(raised.value)
    assert loading.rows(declared) == []


@pytest.mark.slow_after_first
def test_a_day_that_the_source_lacks_is_not_published(loading, shop):
    declared = orders(shop)
    shop.faults[0] = Reply(404)
    with pytest.raises(UnavailableError):
        loading.load(declared)
    shop.faults.clear()
    shop.prices.clear()
    with pytest.raises(UnavailableError, match="has nothing for 2026-01-05"):
        loading.load(declared)


@pytest.mark.slow_after_first
def test_a_required_column_that_ends_in_the_middle_quarantines(loading, shop):
    declared = orders(shop)
    shop.faults[2] = page([{"nom": "C"}])
    with pytest.raises(QuarantinedError, match="quarantined"):
        loading.load(declared)
    assert loading.rows(declared) == []


def test_a_resource_that_asks_at_random_is_refused_when_it_is_read(loading, shop):
    numbers = iter(range(10))

    def make(day, key):
        source = api_of(shop)(day, key)
        return source.orders.add_map(lambda row: {**row, "name": f"{next(numbers)}"})

    declared = dataset(source=dlt_source(make, secrets={"key": "SHOP_KEY"}))
    with pytest.raises(SourceError, match="makes other rows of its captured answers"):
        loading.load(declared)


def test_a_resource_without_requests_needs_rows_as_capture(loading):
    import dlt

    @dlt.resource
    def plain():
        yield {"name": "A"}

    with pytest.raises(ConfigurationError, match="sent no request") as raised:
        loading.load(dataset(source=dlt_source(lambda day: plain())))
    assert "capture='rows'" in raised.value.remedy


def test_a_missing_key_is_named(loading, shop, monkeypatch):
    monkeypatch.delenv("SHOP_KEY")
    with pytest.raises(ConfigurationError, match="secret SHOP_KEY cannot be read"):
        loading.load(orders(shop))
    assert shop.server.requests == []


@pytest.mark.slow_after_first
def test_two_days_of_one_resource_do_not_share_anything(loading, shop):
    declared = orders(shop, partitions=Daily("2026-01-01"))
    loading.load(declared, DAY)
    loading.load(declared, NEXT_DAY)
    assert len(loading.rows(declared)) == 10
    assert loading.states(declared) == []
