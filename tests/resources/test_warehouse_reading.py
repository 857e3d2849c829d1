"""Values read from a database equal those written, to the last character."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier
from sqlalchemy import (
    ColumnElement,
    Double,
    Select,
    Text,
    cast,
    delete,
    func,
    literal,
    make_url,
    select,
)

from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly, finra_symbol_week
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.warehouse import Warehouse, bulk
from orchestration_project.engine.warehouse.frames import (
    FEW_ROWS,
    build_frame,
    insert_frame,
    read_scope,
)
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import as_quantity
from orchestration_project.tables.spine import database_labels
from orchestration_project.tables.webhooks import events_webhooks
from tests.prepared import Prepared
from tests.properties import bounded
from tests.resources.weeks import NOON, StoppedClock, row


def date_of(year: int) -> datetime:
    return datetime(year, 6, 1)  # noqa: DTZ001 - Hypothesis adds the zone


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
HOSTILE = st.sampled_from(
    ["", "\\", "\\N", "\\\\N", "\t", "a\nb", "\r", "\v\b\f", "NULL", "\\n", "%s"]
)
MOMENTS = st.datetimes(date_of(1), date_of(9999), timezones=st.just(UTC))
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "issue_name": st.none() | TEXTS | HOSTILE,
            "participant_name": st.none() | HOSTILE,
            "share_quantity": st.integers(-(2**63), 2**63 - 1).map(as_quantity),
            "firm_crd_number": st.none() | st.integers(0, 9),
            "last_update_date": st.dates(date(1, 1, 2)),
            "known_from": MOMENTS,
        }
    ),
    min_size=1,
    max_size=5,
)


@pytest.fixture(params=[bulk.MANY_ROWS, 1], ids=["by value", "by file"])
def _from_how_many_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk, "MANY_ROWS", request.param)


@pytest.mark.slow
@pytest.mark.usefixtures("_from_how_many_on")
@settings(bounded, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=ROWS)
def test_rows_come_back_as_they_were_written(warehouse: Warehouse, values):
    rows = [row(f"S{n}", **{**value, "capture_id": 1}) for n, value in enumerate(values)]
    written = build_frame(rows, finra_otc_weekly)
    with warehouse.writing() as connection:
        connection.execute(delete(finra_otc_weekly))
        insert_frame(connection, finra_otc_weekly, written)
    with warehouse.reading() as connection:
        read = read_scope(connection, finra_otc_weekly, {"tier": "T1"})
    assert read.sort("symbol").equals(written.sort("symbol"), null_equal=True)
    assert read.schema == written.schema


@pytest.mark.slow_after_first
@pytest.mark.usefixtures("_from_how_many_on")
@pytest.mark.parametrize("value", [0.1, 1e-300, 1 / 3, 2.0**60, None])
def test_a_ratio_comes_back_to_the_last_bit(warehouse: Warehouse, value):
    usual = dict.fromkeys(derive_schema(finra_symbol_week), 1) | {
        "symbol": "A",
        "tier": "T1",
        "top_venue_id": "X",
    }
    given_row = usual | {"week_start": NOON.date(), "hhi_lower": value}
    written = build_frame([given_row], finra_symbol_week)
    with warehouse.writing() as connection:
        insert_frame(connection, finra_symbol_week, written)
    with warehouse.reading() as connection:
        assert read_scope(connection, finra_symbol_week, {"tier": "T1"}).equals(written)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "preference",
    [
        *("DateStyle = 'German, DMY'", "TimeZone = 'Asia/Kathmandu'", "extra_float_digits = -5"),
        *("client_encoding = 'LATIN1'", "standard_conforming_strings = off"),
    ],
)
def test_values_come_back_as_they_were_written_whatever_the_server_prefers(
    prepared: Prepared, clock: StoppedClock, preference: str
):
    url = prepared.postgresql()
    with psycopg.connect(url, autocommit=True) as connection:
        name = Identifier(connection.info.dbname)
        connection.execute(SQL("ALTER DATABASE {} SET ").format(name) + SQL(preference))  # pyright: ignore[reportArgumentType] - of this test's own
    few = [row("A", capture_id=1, known_from=NOON, issue_name="Crédit\\N…")]
    many = [
        row(f"B{n}", capture_id=1, known_from=NOON, issue_name="é") for n in range(FEW_ROWS + 1)
    ]
    with Warehouse(url, clock=clock) as warehouse:
        warehouse.prepare(holds="real")
        for rows in (few, many):
            written = build_frame(rows, finra_otc_weekly)
            with warehouse.writing() as connection:
                connection.execute(delete(finra_otc_weekly))
                insert_frame(connection, finra_otc_weekly, written)
            stored = warehouse.frame(select(finra_otc_weekly), finra_otc_weekly)
            assert stored.sort("symbol").equals(written.sort("symbol"))
        with warehouse.reading() as connection:
            third = select(cast(1, Double) / 3, finra_otc_weekly.c.known_from).limit(1)
            assert connection.execute(third).one() == (1 / 3, NOON)
        written_out: list[ColumnElement[Any]] = [
            finra_otc_weekly.c.known_from,
            cast(finra_otc_weekly.c.known_from, Text).label("moment"),
            cast(finra_otc_weekly.c.week_start, Text).label("day"),
            cast(cast(1, Double) / 3, Text).label("third"),
        ]
        found = warehouse.first(select(*written_out))
    assert found == {
        "known_from": NOON,
        "moment": "2026-01-05 12:00:00.123456+00",
        "day": "2025-11-10",
        "third": "0.3333333333333333",
    }


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_lacks_letters_is_refused_and_one_that_looks_at_none_holds_them(
    postgres_url: str, clock: StoppedClock, encoding: str
):
    name = f"other_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        connection.execute(made.encode())
    written = build_frame(
        [row("A", capture_id=1, known_from=NOON, issue_name="é…")], finra_otc_weekly
    )
    with Warehouse(make_url(postgres_url).set(database=name), clock=clock) as warehouse:
        if encoding == "LATIN1":
            with pytest.raises(ConfigurationError, match="ENCODING 'UTF8'"):
                warehouse.prepare(holds="real")
            return
        warehouse.prepare(holds="real")
        with warehouse.writing() as connection:
            insert_frame(connection, finra_otc_weekly, written)
        assert warehouse.frame(select(finra_otc_weekly), finra_otc_weekly).equals(written)


@pytest.mark.parametrize("source", ["\ufeff", "\ufeffgit", "\ufeff\ufeffgit"])
def test_a_text_that_comes_first_keeps_its_byte_order_mark(warehouse: Warehouse, source: str):
    texts = dict.fromkeys(("delivery_id", "kind", "payload"), "x")
    given_row = {"source": source, **texts, "received_at": NOON, "capture_id": 1}
    written = build_frame([{**given_row, "known_from": NOON}], events_webhooks)
    with warehouse.writing() as connection:
        insert_frame(connection, events_webhooks, written)
    with warehouse.reading() as connection:
        assert read_scope(connection, events_webhooks, {"source": source}).equals(written)


def slow(*, steps: int) -> Select[Any]:
    """Return a select of the labels for which a database has to count to ``steps``."""
    number = select(literal(1).label("n")).cte("numbers", recursive=True)
    number = number.union_all(select(number.c.n + 1).where(number.c.n < steps))
    counted = select(func.count()).select_from(number).scalar_subquery()
    is_data = database_labels.c.name == "data"
    return select(database_labels).where(is_data, counted == steps)


def test_the_database_ends_a_read_that_takes_too_long_and_goes_on_with_others(
    warehouse: Warehouse,
):
    with pytest.raises(TimeoutError, match="exceeded its time limit"):
        warehouse.frame(slow(steps=20_000_000), database_labels, seconds=0.05)
    assert warehouse.frame(slow(steps=100_000), database_labels).height == 1


def test_a_shorter_limit_of_the_servers_own_stays(postgres_url: str, clock: StoppedClock):
    option = {"options": "-c statement_timeout=50"}
    limited = make_url(postgres_url).update_query_dict(option)
    with (
        Warehouse(limited, clock=clock) as warehouse,
        pytest.raises(TimeoutError),
        warehouse.reading(seconds=60) as connection,
    ):
        connection.exec_driver_sql("SELECT pg_sleep(10)")
