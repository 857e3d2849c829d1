"""Incremental resources: the state is stored with the rows, or neither is."""

import threading
from contextlib import contextmanager

import dlt
import pytest
from sqlalchemy import event

from orchestration_project import Daily, Field, dlt_source
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.warehouse import SupersededError
from orchestration_project.errors import ConfigurationError, SourceError
from tests.own.declared import dataset
from tests.own.dlt_loading import DAY, NEXT_DAY

THIRD_DAY = "2026-01-07"


class Table:
    """Rows of a source, to which a test adds some; each has a number that grows."""

    def __init__(self):
        self.rows = []

    def add(self, *names):
        self.rows += [
            {"name": name, "n": len(self.rows) + place} for place, name in enumerate(names)
        ]


@pytest.fixture
def table():
    found = Table()
    found.add("A", "B")
    return found


def declared_of(table, **more):
    """Return the rows of a table as an incremental dataset."""

    @dlt.resource(name="orders")
    def orders(n=dlt.sources.incremental("n")):  # noqa: B008 - as dlt has it
        yield [row for row in table.rows if n.last_value is None or row["n"] >= n.last_value]

    options = {"capture": "rows", "incremental": True, **more}
    return dataset(Field("n", int, "number"), source=dlt_source(lambda: orders(), **options))


def days_of(loading, declared):
    return [(f"{day}", name) for day, name in loading.rows(declared, "day", "name")]


@pytest.mark.slow_after_first
def test_a_partition_has_what_was_new_since_the_one_before(loading, table):
    declared = declared_of(table)
    loading.load(declared, DAY)
    table.add("C")
    loading.load(declared, NEXT_DAY)
    assert days_of(loading, declared) == [(DAY, "A"), (DAY, "B"), (NEXT_DAY, "C")]
    assert [state.partition_key for state in loading.states(declared)] == [DAY, NEXT_DAY]
    with pytest.raises(SourceError, match="has nothing for 2026-01-07"):
        loading.load(declared, THIRD_DAY)


@pytest.mark.slow_after_first
def test_the_newest_partition_is_read_again_from_where_it_began(loading, table):
    declared = declared_of(table)
    loading.load(declared, DAY)
    table.add("C")
    loading.load(declared, NEXT_DAY)
    table.add("D")
    loading.load(declared, NEXT_DAY)
    expected = [(DAY, "A"), (DAY, "B"), (NEXT_DAY, "C"), (NEXT_DAY, "D")]
    assert days_of(loading, declared) == expected
    with pytest.raises(SourceError, match="cannot be read again") as raised:
        loading.load(declared, DAY)
    assert raised.value.expected == f"{NEXT_DAY} or a later partition"
    assert days_of(loading, declared) == expected


@contextmanager
def states_read(loading):
    """Count the rows that statements read from the table of states."""
    counts = []

    def count(connection, cursor, statement, *_):
        if "FROM dlt_states" in statement:
            counts.append("LIMIT" in statement)

    engine = loading.warehouse._engine
    event.listen(engine, "after_cursor_execute", count)
    yield counts
    event.remove(engine, "after_cursor_execute", count)


@pytest.mark.slow_after_first
def test_a_load_reads_few_states_however_many_there_are(loading, table):
    declared = declared_of(table)
    found = []
    for number in range(1, 8):
        table.add(f"N{number}")
        with states_read(loading) as counts:
            loading.load(declared, f"2026-01-{number:02}")
        found.append(counts)
    assert [len(counts) for counts in found] == [3] * 7
    assert all(is_one_row for counts in found for is_one_row in counts)
    assert [state.state_number for state in loading.states(declared)] == [*range(1, 8)]


@pytest.mark.slow_after_first
def test_a_replay_reads_neither_source_nor_newest_state(loading, table):
    declared = declared_of(table)
    loading.load(declared, DAY)
    table.add("C")
    loading.load(declared, NEXT_DAY)
    states = loading.states(declared)
    table.rows.clear()
    loading.replay(declared, DAY)
    loading.replay(declared, NEXT_DAY)
    assert days_of(loading, declared) == [(DAY, "A"), (DAY, "B"), (NEXT_DAY, "C")]
    assert loading.states(declared) == states


def fail_at(loading, table_name, error):
    """Have the statement that inserts into a table fail, once."""
    left = [error]

    def fail(connection, cursor, statement, *_):
        if statement.startswith(f"INSERT INTO {table_name}") and left:
            raise left.pop()

    event.listen(loading.warehouse._engine, "before_cursor_execute", fail)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "error", [RuntimeError("disk"), KeyboardInterrupt()], ids=["error", "kill"]
)
def test_rows_are_not_loaded_twice_where_saving_the_state_fails(loading, table, error):
    declared = declared_of(table)
    loading.declare(declared)
    fail_at(loading, "dlt_states", error)
    with pytest.raises(type(error)):
        loading.load(declared, DAY)
    assert loading.rows(declared) == []
    assert loading.states(declared) == []
    loading.load(declared, DAY)
    table.add("C")
    loading.load(declared, NEXT_DAY)
    assert days_of(loading, declared) == [(DAY, "A"), (DAY, "B"), (NEXT_DAY, "C")]


@pytest.mark.slow_after_first
def test_of_two_partitions_that_start_from_one_state_one_is_loaded(loading, table):
    declared = declared_of(table)
    with loading.from_source(declared) as first, loading.from_source(declared) as second:
        taken = [first.take(DAY), second.take(NEXT_DAY)]
        ended = {}

        def write_batch(loader, day, batch):
            try:
                ended[day] = loader.write_batch(batch)
            except SupersededError as error:
                ended[day] = error

        threads = [
            threading.Thread(target=write_batch, args=load)
            for load in zip((first, second), (DAY, NEXT_DAY), taken, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [day for day, result in ended.items() if isinstance(result, SupersededError)]
        assert len(refused) == 1
        assert ended[refused[0]].is_retryable
    assert sorted(name for _, name in days_of(loading, declared)) == ["A", "B"]
    assert len(loading.states(declared)) == 1


@pytest.mark.slow_after_first
def test_a_quarantined_delivery_leaves_its_rows_to_the_next_partition(loading, table):
    declared = declared_of(table)
    table.rows[1]["name"] = ""
    with pytest.raises(Exception, match="quarantined"):
        loading.load(declared, DAY)
    assert loading.states(declared) == []
    table.rows[1]["name"] = "B"
    loading.load(declared, NEXT_DAY)
    assert days_of(loading, declared) == [(NEXT_DAY, "A"), (NEXT_DAY, "B")]
    with pytest.raises(SupersededError, match="another load has continued"):
        loading.replay(declared, DAY, max_reject_ratio=1)
    assert days_of(loading, declared) == [(NEXT_DAY, "A"), (NEXT_DAY, "B")]


def test_the_sensor_sees_the_newest_partition_alone(loading, table):
    declared = declared_of(table)
    with loading.source(declared) as source:
        assert [partition.label for partition in source.partitions().known] == [THIRD_DAY]
    assert loading.declare(declared).reread_count == 0


@pytest.mark.slow_after_first
def test_two_datasets_of_one_resource_have_states_of_their_own(loading, table):
    @dlt.resource(name="orders")
    def orders(n=dlt.sources.incremental("n")):  # noqa: B008 - as dlt has it
        yield from table.rows

    shared = orders()
    both = [
        dataset(
            Field("n", int, "number"),
            source=dlt_source(lambda: shared, capture="rows", incremental=True),
        )
        for _ in range(2)
    ]
    for declared in both:
        declare_table(declared, "shop")
    for declared in both:
        loading.load(declared, DAY)
    table.add("C")
    for declared in both:
        loading.load(declared, NEXT_DAY)
        assert days_of(loading, declared) == [(DAY, "A"), (DAY, "B"), (NEXT_DAY, "C")]


def test_a_resource_that_keeps_no_state_is_not_incremental(loading):
    @dlt.resource
    def plain():
        yield {"name": "A", "n": 1}

    source = dlt_source(lambda: plain(), capture="rows", incremental=True)
    with pytest.raises(ConfigurationError, match="how partitions follow"):
        loading.load(dataset(source=source))


@pytest.mark.slow_after_first
def test_rows_bounded_by_the_day_need_no_state_and_any_order(loading, table):
    @dlt.resource(name="orders")
    def orders(n=dlt.sources.incremental("n")):  # noqa: B008 - as dlt has it
        yield from (row for row in table.rows)

    def make(day):
        first = day.day - 5
        return orders(dlt.sources.incremental("n", initial_value=first, end_value=first + 1))

    declared = dataset(source=dlt_source(make, capture="rows"), partitions=Daily("2026-01-01"))
    loading.load(declared, NEXT_DAY)
    loading.load(declared, DAY)
    assert days_of(loading, declared) == [(DAY, "A"), (NEXT_DAY, "B")]
    assert loading.states(declared) == []
