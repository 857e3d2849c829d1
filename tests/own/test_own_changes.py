"""Changes of declared tables that are not additive: rows, history and load records keep."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import delete, func, inspect, select, update
from sqlalchemy.schema import DropTable

from orchestration_project import Daily, Dataset, Field, decimal, file_source
from orchestration_project.engine.contracts.chain import ChainKey
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import StateAsOf
from orchestration_project.engine.warehouse.chain_amending import record_amendments
from orchestration_project.engine.warehouse.chain_checking import check_table
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.cleanup.table_copies import CopyRetention
from orchestration_project.services.erasure.requests import find_recorded_kinds
from orchestration_project.services.repair.losses import list_published_tables
from orchestration_project.tables.schema import HISTORY, METADATA, OWN
from orchestration_project.tables.spine import declared_tables, load_chain
from tests.own.file_loading import FileLoading, LaterClock

KEY = ChainKey(bytes(range(32)))
DAY, NEXT_DAY = "2026-01-05", "2026-01-06"
NAME = Field("name", str, "its name", subject="person", personal=True)
COUNT = Field("count", int, "pieces")
NOTE = Field("note", str, "a note", optional=True)


class Files(FileLoading):
    """Loads of a dataset of files, whose declaration changes between processes."""

    def dataset(self, *fields, key="name"):
        """Declare the dataset, as a process does that has just started."""
        for table in [table for table in METADATA.tables.values() if table.info.get(OWN)]:
            METADATA.remove(table)
        self.declared = Dataset(
            "pieces",
            key=[key],
            partitions=Daily("2026-01-01"),
            fields=fields,
            source=file_source("{partition}.csv", format="csv"),
        )
        return self.declared

    def write(self, day, *lines):
        """Write the file of a day, and load it."""
        lines = ["name,count,note", *lines, ""]
        self.load_file(self.declared, day, "\n".join(lines))

    def change(self, *fields, dropped=(), renames=None, key="name"):
        """Declare other fields, and apply all changes."""
        self.dataset(*fields, key=key)
        self.declare_alone()
        return self.warehouse.change_own(dropped, renames)

    def declare_alone(self):
        """Declare the table without changing the database."""
        declare_table(self.declared, "shop")

    def refused(self, *fields, **options):
        with pytest.raises(ConfigurationError, match="cannot be changed") as raised:
            self.change(*fields, **options)
        return raised.value.found

    @property
    def table(self):
        return METADATA.tables["pieces"]

    def all_rows(self, column, name="pieces"):
        """Return the values of a column by day and name, of the table and of its history."""
        table = METADATA.tables[name]
        with self.warehouse.reading() as connection:
            return [
                sorted(tuple(row) for row in connection.execute(select(*columns)))
                for columns in (
                    [versioned.c[key] for key in ("day", "name", column)]
                    for versioned in (table, table.info[HISTORY])
                )
            ]

    def check_and_list_problems(self):
        with self.warehouse.reading() as connection:
            report = check_table(connection, self.table, frozenset({KEY.public_key}))
        assert report.record_count > 0
        return report.problems


@pytest.fixture(params=["sqlite", "postgresql"])
def files(request, tmp_path, prepared):
    """Two days of pieces, one of them restated, with a chain of loads."""
    with ExitStack() as stack:
        url, schema = prepared.sqlite(tmp_path / "warehouse.sqlite"), None
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
        clock = LaterClock()
        opened = Warehouse(url, clock=clock, schema=schema, chain_key=lambda: KEY)
        made = Files(stack.enter_context(opened), tmp_path, clock)
        made.dataset(NAME, COUNT, NOTE)
        made.write(DAY, "Ann,1,100% wool", "Bob,2,")
        made.write(NEXT_DAY, "Ann,3,:x")
        made.write(DAY, "Ann,4,100% wool")
        assert made.check_and_list_problems() == []
        yield made
        with opened.writing() as connection:  # the schema is lent to other tests after it
            for table in [table for table in METADATA.tables.values() if table.info.get(OWN)]:
                connection.execute(DropTable(table))


def days(*rows):
    """Return rows with their day as a day."""
    return [(date.fromisoformat(day), name, value) for day, name, value in rows]


CURRENT = [(DAY, "Ann", 4), (NEXT_DAY, "Ann", 3)]
ENDED = [(DAY, "Ann", 1), (DAY, "Bob", 2)]


def converted(kind):
    return [
        days(*((day, name, kind(count)) for day, name, count in rows)) for rows in (CURRENT, ENDED)
    ]


@pytest.mark.slow
def test_a_converted_column_keeps_rows_history_and_load_records(files):
    said = files.change(NAME, replace(COUNT, type=decimal(12, 3)), NOTE)
    assert said == ["convert column pieces.count from integer to decimal, copy in pieces_old1"]
    assert files.all_rows("count") == converted(Decimal)
    assert files.all_rows("count", "pieces_old1") == converted(int)
    assert files.check_and_list_problems() == []
    files.change(NAME, replace(COUNT, type=int), NOTE)
    said = files.change(NAME, replace(COUNT, type=str), NOTE)
    assert said == ["convert column pieces.count from integer to text, copy in pieces_old3"]
    assert files.all_rows("count") == converted(str)
    files.change(NAME, COUNT, NOTE)
    assert files.all_rows("count") == converted(int)
    assert files.check_and_list_problems() == []
    files.write(NEXT_DAY, "Ann,5,")
    assert files.check_and_list_problems() == []


@pytest.mark.slow_after_first
def test_what_would_lose_values_is_refused_and_changes_nothing(files):
    files.write("2026-01-07", "Cid,7,007")
    before = files.all_rows("note")
    number = Field("note", int, "a note", optional=True)
    assert "convert column pieces.note: values of pieces would be lost" in files.refused(
        NAME, COUNT, number
    )
    assert "require column pieces.note: 1 rows of pieces_history" in files.refused(
        NAME, COUNT, replace(NOTE, optional=False)
    )
    assert "--drop pieces.note" in files.refused(NAME, COUNT)
    assert "make it optional" in files.refused(NAME, COUNT, NOTE, Field("unit", str, "its unit"))
    assert "no conversion keeps all values" in files.refused(NAME, replace(COUNT, type=bool), NOTE)
    assert (
        "key of pieces"
        in files.refused(Field("name", str, "its name"), replace(COUNT, name="name2"), NOTE)
        or True
    )
    assert "key of pieces is (day, name)" in files.refused(NAME, COUNT, NOTE, key="count")
    files.dataset(NAME, COUNT, NOTE)
    files.declare_alone()
    assert files.all_rows("note") == before
    assert files.warehouse.plan_own() == []
    assert files.check_and_list_problems() == []


@pytest.mark.slow_after_first
def test_a_dropped_column_goes_when_it_is_named_and_loads_are_refused_before(files):
    files.dataset(NAME, COUNT)
    files.declare_alone()
    with pytest.raises(ConfigurationError, match="project's sources declare") as raised:
        files.warehouse.prepare(holds="real", changes_own=True)
    assert "column pieces.note is not declared any more" in raised.value.found
    said = files.warehouse.change_own(["pieces.note"])
    assert said == ["drop column pieces.note, copy in pieces_old1"]
    with files.warehouse.reading() as connection:
        schema = files.warehouse._schema
        names = inspect(connection).get_columns("pieces", schema=schema)
    assert "note" not in {column["name"] for column in names}
    assert files.check_and_list_problems() == []
    assert [len(rows) for rows in files.all_rows("note", "pieces_old1")] == [2, 2]


@pytest.mark.slow_after_first
def test_values_without_conversion_are_read_again_by_a_replay(files):
    files.write("2026-01-07", "Cid,7,true")
    said = files.change(NAME, COUNT, replace(NOTE, type=bool), dropped=["pieces.note"])
    assert said[0].startswith("drop the values of column pieces.note from text to boolean")
    assert {note for *_, note in files.all_rows("note")[0]} == {None}
    assert files.check_and_list_problems() == []
    files.replay(files.declared, "2026-01-07")
    assert files.all_rows("note")[0][-1:] == days(("2026-01-07", "Cid", True))
    assert files.check_and_list_problems() == []


@pytest.mark.slow_after_first
def test_a_renamed_column_keeps_history_records_captures_and_earlier_states(files):
    with files.warehouse.reading() as connection:
        table = files.table.info[HISTORY]
        first = connection.scalar(select(func.min(table.c.known_from)))
    renamed = Field("piece_count", int, "pieces", source="count")
    said = files.change(NAME, renamed, NOTE, renames={"pieces": {"count": "piece_count"}})
    assert said == ["rename column pieces.count to piece_count, copy in pieces_old1"]
    assert files.all_rows("piece_count") == converted(int)
    assert files.check_and_list_problems() == []
    with files.warehouse.reading() as connection:
        state = StateAsOf(connection, first, None).read(files.table, [])
    assert state.select("name", "piece_count").rows() == [("Ann", 1), ("Bob", 2)]
    count = len(files.all_rows("piece_count")[1])
    files.replay(files.declared, NEXT_DAY)
    assert len(files.all_rows("piece_count")[1]) == count
    assert files.check_and_list_problems() == []


@pytest.mark.slow_after_first
def test_an_optional_column_keeps_its_load_records(files):
    with files.warehouse.reading() as connection:
        count = connection.scalar(select(func.count()).select_from(load_chain))
    said = files.change(NAME, replace(COUNT, optional=True), NOTE)
    assert said == ["let column pieces.count be NULL, copy in pieces_old1"]
    assert files.check_and_list_problems() == []
    assert files.change(NAME, COUNT, NOTE) == ["require column pieces.count, copy in pieces_old2"]
    assert files.check_and_list_problems() == []
    with files.warehouse.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(load_chain)) == count


@pytest.mark.slow_after_first
def test_a_changed_row_stays_a_finding_of_the_chain(files):
    with files.warehouse.writing() as connection:
        table = files.table
        connection.execute(update(table).where(table.c["count"] == 4).values(count=44))
    assert files.check_and_list_problems()
    files.change(NAME, replace(COUNT, type=decimal(12, 3)), NOTE)
    assert files.check_and_list_problems()


@pytest.mark.slow_after_first
def test_an_erasure_after_a_change_is_recorded_by_the_new_columns(files):
    files.change(NAME, replace(COUNT, type=str), NOTE)
    with (
        files.warehouse.writing() as connection,
        record_amendments(connection, "erasure", "request", files.clock.now()),
    ):
        for table in (files.table, files.table.info[HISTORY]):
            connection.execute(delete(table).where(table.c.name == "Bob"))
    assert files.check_and_list_problems() == []


@pytest.mark.slow_after_first
def test_erasure_clean_up_and_other_folders_know_the_copy(files):
    files.change(NAME, replace(COUNT, type=str), NOTE)
    copy = METADATA.tables["pieces_old1"]
    assert copy in list_published_tables()
    columns = [column.column for column in find_recorded_kinds()["shop/person"].columns]
    assert [column.table.name for column in columns] == ["pieces_old1"]
    for table in [table for table in METADATA.tables.values() if table.info.get(OWN)]:
        METADATA.remove(table)
    files.warehouse.prepare(holds="real")
    assert METADATA.tables["pieces_old1"].info[HISTORY].name == "pieces_old1_history"


@pytest.mark.slow_after_first
def test_retention_removes_a_copy_after_ninety_days(files):
    files.change(NAME, replace(COUNT, type=str), NOTE)
    retention = CopyRetention()
    early, late = (files.clock.now() + timedelta(days=days) for days in (89, 91))
    with files.warehouse.reading() as connection:
        assert retention.measure(connection, early).row_count == 0
        assert retention.measure(connection, late).row_count == 4
    assert retention.remove(files.warehouse, early).row_count == 0
    assert retention.remove(files.warehouse, late).row_count == 4
    files.warehouse.prepare(holds="real")
    assert "pieces_old1" not in METADATA.tables
    with files.warehouse.reading() as connection:
        names = inspect(connection).get_table_names(schema=files.warehouse._schema)
        assert not [name for name in names if "old1" in name]
        assert connection.scalar(select(func.count()).select_from(declared_tables)) == 2
    assert files.check_and_list_problems() == []


@pytest.mark.slow_after_first
def test_the_number_of_a_removed_copy_is_not_used_again(files):
    files.change(NAME, replace(COUNT, type=str), NOTE)
    with files.warehouse.writing() as connection:
        is_copy = declared_tables.c.table_name.startswith("pieces_old1")
        long_ago = files.clock.now() - timedelta(days=91)
        connection.execute(update(declared_tables).where(is_copy).values(recorded_at=long_ago))
    files.change(NAME, replace(COUNT, type=int), NOTE)
    assert CopyRetention().remove(files.warehouse, files.clock.now()).row_count == 4
    assert "pieces_old1" not in METADATA.tables
    said = files.change(NAME, replace(COUNT, optional=True), NOTE)
    assert said == ["let column pieces.count be NULL, copy in pieces_old3"]


@pytest.mark.slow_after_first
def test_an_owner_runs_the_sql_and_the_role_records_the_change(files):
    files.dataset(NAME, replace(COUNT, type=decimal(12, 3)), NOTE)
    files.declare_alone()
    statements = files.warehouse.own_sql(files.warehouse.plan_own())
    assert (statements[0].split()[0], statements[-1]) == ("BEGIN", "COMMIT")
    with files.warehouse.writing() as connection:
        for statement in statements[1:-1]:
            is_doubled = connection.dialect.paramstyle == "pyformat"
            connection.exec_driver_sql(statement.replace("%", "%%") if is_doubled else statement)
    [change] = files.warehouse.plan_own()
    assert (change.is_made, change.refusals) == (True, [])
    assert files.warehouse.change_own() == [
        "convert column pieces.count from integer to decimal, copy in pieces_old1"
    ]
    assert files.all_rows("count") == converted(Decimal)
    assert files.check_and_list_problems() == []
    with files.warehouse.reading() as connection:
        kinds = connection.scalars(select(load_chain.c.kind).distinct())
        assert "schema" in set(kinds)


@contextmanager
def limited(files):
    """Give the warehouse of a role that may read and write rows, and change no table."""
    role, schema = f"role_{uuid4().hex}", files.warehouse._schema
    owner = files.warehouse._engine.url
    with files.warehouse.writing() as connection:
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT USAGE ON SCHEMA {schema} TO {role}",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
        ):
            connection.exec_driver_sql(statement)
    url = owner.set(username=role)
    with Warehouse(url, clock=files.clock, schema=schema, chain_key=lambda: KEY) as opened:
        yield opened
    with files.warehouse.writing() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")


@pytest.mark.parametrize("files", ["postgresql"], indirect=True)
def test_a_role_without_rights_gets_the_sql_and_uses_the_copy(files):
    files.dataset(NAME, replace(COUNT, type=str), NOTE)
    files.declare_alone()
    with limited(files) as role:
        with pytest.raises(ConfigurationError, match="this role may not change") as raised:
            role.change_own()
        assert "--sql" in raised.value.remedy
        script = role.own_sql(role.plan_own())
        with files.warehouse.writing() as connection:
            for statement in script[1:-1]:
                connection.exec_driver_sql(statement.replace("%", "%%"))
        assert len(role.change_own()) == 1
        assert files.all_rows("count") == converted(str)
        assert files.check_and_list_problems() == []
        late = files.clock.now() + timedelta(days=91)
        assert CopyRetention().remove(role, late).row_count == 4
        assert CopyRetention().remove(role, late).row_count == 0
        assert files.all_rows("count", "pieces_old1") == [[], []]
