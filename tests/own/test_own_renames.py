"""Renamed tables of declared sources: rows, history, captures and load records keep."""

from contextlib import ExitStack
from datetime import date, timedelta

import pytest
from sqlalchemy import func, inspect, select, update
from sqlalchemy.schema import DropTable

from orchestration_project import Daily, Dataset, Field, file_source
from orchestration_project.engine.contracts.chain import RENAME, ChainKey
from orchestration_project.engine.own.contracts import declare_table
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.as_of import StateAsOf
from orchestration_project.engine.warehouse.chain_checking import (
    check_heads,
    check_table,
    find_unknown_chains,
)
from orchestration_project.engine.warehouse.chaining import read_chain_heads
from orchestration_project.engine.warehouse.delivery import QuarantinedError, build_latest_group
from orchestration_project.errors import ConfigurationError
from orchestration_project.tables.schema import HISTORY, METADATA, OWN
from orchestration_project.tables.spine import (
    captures,
    declared_tables,
    deliveries,
    fences,
    load_chain,
)
from tests.own.file_loading import FileLoading, LaterClock
from tests.own.test_own_changes import limited

KEY = ChainKey(bytes(range(32)))
DAY, NEXT_DAY = "2026-01-05", "2026-01-06"
DAYS = [str(date(2026, 1, 4) + timedelta(days=number)) for number in range(3)]


class Files(FileLoading):
    """Loads of a dataset of files, whose name changes between processes."""

    def declare_as(self, name, *fields):
        """Declare the dataset, as a process does that has just started."""
        for table in [table for table in METADATA.tables.values() if table.info.get(OWN)]:
            METADATA.remove(table)
        names = fields or [Field("name", str, "its name"), Field("count", int, "pieces")]
        self.declared = Dataset(
            name,
            key=["name"],
            partitions=Daily("2025-12-28"),
            fields=names,
            source=file_source("{partition}.csv", format="csv"),
        )
        declare_table(self.declared, "shop")

    def write(self, day, *lines):
        self.load_file(self.declared, day, "\n".join(["name,count", *lines, ""]))

    def rename(self, old, new):
        self.declare_as(new)
        return self.warehouse.rename_own(old, new)

    def refused(self, old, new):
        with pytest.raises(ConfigurationError, match="cannot be renamed") as raised:
            self.warehouse.rename_own(old, new)
        return raised.value

    def all_rows(self, name):
        """Return the rows of a table and of its history, by day and name."""
        table = METADATA.tables[name]
        with self.warehouse.reading() as connection:
            return [
                sorted(tuple(row) for row in connection.execute(select(*columns)))
                for columns in (
                    [versioned.c[key] for key in ("day", "name", "count", "known_from")]
                    for versioned in (table, table.info[HISTORY])
                )
            ]

    def check_and_list_problems(self, name):
        with self.warehouse.reading() as connection:
            trusted = frozenset({KEY.public_key})
            report = check_table(connection, METADATA.tables[name], trusted)
            assert report.record_count > 0
            return [*report.problems, *find_unknown_chains(connection)]

    def table_names(self):
        with self.warehouse.reading() as connection:
            return set(inspect(connection).get_table_names(schema=self.warehouse._schema))

    def state_at(self, name, moment):
        with self.warehouse.reading() as connection:
            return StateAsOf(connection, moment, None).read(METADATA.tables[name], [])


@pytest.fixture(params=["sqlite", "postgresql"])
def files(request, tmp_path, prepared):
    """Three days of pieces with a chain of loads; a restatement was quarantined, then replayed."""
    with ExitStack() as stack:
        url, schema = prepared.sqlite(tmp_path / "warehouse.sqlite"), None
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
        clock = LaterClock()
        opened = Warehouse(url, clock=clock, schema=schema, chain_key=lambda: KEY)
        made = Files(stack.enter_context(opened), tmp_path, clock)
        made.declare_as("pieces")
        for day in DAYS:
            made.write(day, f"Ann,{int(day[-2:])}", "Bob,2")
        with pytest.raises(QuarantinedError):
            made.write(DAY, "Ann,50", "Bob,many")
        made.replay(made.declared, DAY, max_reject_ratio=1)
        assert made.check_and_list_problems("pieces") == []
        yield made
        with opened.writing() as connection:  # the schema is lent to other tests after it
            for table in [table for table in METADATA.tables.values() if table.info.get(OWN)]:
                connection.execute(DropTable(table))


@pytest.mark.slow_after_first
def test_a_renamed_table_keeps_rows_history_captures_and_load_records(files):
    before, first = files.all_rows("pieces"), files.all_rows("pieces")[1][0][-1]
    with files.warehouse.reading() as connection:
        heads = read_chain_heads(connection)
        groups = set(connection.scalars(select(deliveries.c.group_id)))
    assert files.rename("pieces", "parts") == "rename table pieces to parts"
    assert files.all_rows("parts") == before
    assert files.table_names() >= {"parts", "parts_history"}
    assert not files.table_names() & {"pieces", "pieces_history"}
    assert files.check_and_list_problems("parts") == []
    assert files.state_at("parts", first).filter(day=date(2026, 1, 5)).select(
        "name", "count"
    ).rows() == [("Ann", 5), ("Bob", 2)]
    with files.warehouse.reading() as connection:
        assert check_heads(connection, heads) == []
        assert set(connection.scalars(select(deliveries.c.group_id))) == groups
        assert set(connection.scalars(select(captures.c.dataset))) == {"parts"}
        assert set(connection.scalars(select(declared_tables.c.table_name))) == {
            "parts",
            "parts_history",
        }


@pytest.mark.slow_after_first
def test_loads_and_replays_go_on_after_a_rename(files):
    files.rename("pieces", "parts")
    count = len(files.all_rows("parts")[1])
    files.replay(files.declared, NEXT_DAY)
    assert len(files.all_rows("parts")[1]) == count
    files.write(DAY, "Ann,51", "Bob,2")
    assert [row[2] for row in files.all_rows("parts")[0] if row[0] == date(2026, 1, 5)] == [51, 2]
    assert files.check_and_list_problems("parts") == []
    with files.warehouse.reading() as connection:
        latest = select(fences.c.scope_key, build_latest_group())
        found = dict(tuple(row) for row in connection.execute(latest))
        known = set(connection.scalars(select(deliveries.c.group_id)))
    assert (found[DAY], found[DAYS[0]]) == (f"parts:{DAY}#4", f"pieces:{DAYS[0]}#1")
    assert set(found.values()) <= known


@pytest.mark.slow
def test_a_table_that_was_renamed_twice_and_back_is_verified(files):
    with files.warehouse.reading() as connection:
        first = read_chain_heads(connection)
    files.rename("pieces", "parts")
    files.write("2026-01-08", "Ann,11")
    with files.warehouse.reading() as connection:
        second = read_chain_heads(connection)
    files.rename("parts", "things")
    assert files.check_and_list_problems("things") == []
    files.rename("things", "pieces")
    assert files.check_and_list_problems("pieces") == []
    files.write("2026-01-08", "Ann,12")
    assert files.check_and_list_problems("pieces") == []
    with files.warehouse.reading() as connection:
        assert check_heads(connection, first) == []
        assert check_heads(connection, second) == []


@pytest.mark.slow_after_first
def test_a_changed_row_and_a_forged_name_stay_findings_of_the_chain(files):
    with files.warehouse.writing() as connection:
        table = METADATA.tables["pieces"]
        connection.execute(update(table).where(table.c["count"] == 50).values(count=51))
    files.rename("pieces", "parts")
    assert {problem.name for problem in files.check_and_list_problems("parts")} == {
        f"pieces:{DAY}#3"
    }
    with files.warehouse.writing() as connection:
        payload = select(load_chain.c.payload).where(load_chain.c.kind == RENAME)
        [stored] = connection.scalars(payload)
        forged = stored.replace('"renamed_from":"pieces"', '"renamed_from":"things"')
        is_rename = load_chain.c.kind == RENAME
        connection.execute(update(load_chain).where(is_rename).values(payload=forged))
    causes = [problem.cause for problem in files.check_and_list_problems("parts")]
    assert "expected the SHA-256 of its payload, found another: the record was changed" in causes
    assert "expected table pieces, as it was signed, found things" in causes


@pytest.mark.slow_after_first
def test_what_is_not_a_rename_is_refused_and_changes_nothing(files):
    before = files.table_names()
    assert "declares parts" in files.refused("pieces", "parts").expected
    files.declare_as("parts", Field("name", str, "its name"), Field("count", str, "pieces"))
    assert files.refused("pieces", "parts").expected == "the same columns, types and key"
    files.declare_as("parts")
    assert files.refused("peices", "parts").found == "peices"
    assert files.table_names() == before
    files.write(DAY, "Ann,1")
    assert "rows of parts" in files.refused("pieces", "parts").found


@pytest.mark.slow_after_first
def test_an_empty_table_of_the_new_name_goes_and_a_second_rename_does_nothing(files):
    before = files.all_rows("pieces")
    files.declare_as("parts")
    files.warehouse.prepare(holds="real", changes_own=True)
    assert files.rename("pieces", "parts") == "rename table pieces to parts"
    assert files.all_rows("parts") == before
    assert files.check_and_list_problems("parts") == []
    assert files.warehouse.rename_own("pieces", "parts") is None


@pytest.mark.slow
def test_another_table_may_not_have_a_former_name(files):
    files.rename("pieces", "parts")
    for declare in (
        lambda: files.warehouse.prepare(holds="real", changes_own=True),
        lambda: files.warehouse.rename_own("parts2", "pieces"),
    ):
        files.declare_as("parts2")
        files.warehouse.prepare(holds="real", changes_own=True)
        files.declare_as("pieces")
        with pytest.raises(ConfigurationError, match="no other table had") as raised:
            declare()
        assert raised.value.found == "pieces, which was renamed to parts"
    files.warehouse.rename_own("parts", "pieces")
    assert files.check_and_list_problems("pieces") == []


@pytest.mark.slow_after_first
def test_a_copy_of_a_renamed_table_is_of_the_new_name(files):
    files.declare_as("pieces", Field("name", str, "its name"), Field("count", str, "pieces"))
    files.warehouse.change_own()
    files.declare_as("parts", Field("name", str, "its name"), Field("count", str, "pieces"))
    files.warehouse.rename_own("pieces", "parts")
    with files.warehouse.reading() as connection:
        recorded = select(declared_tables.c.declaration).where(
            declared_tables.c.table_name == "pieces_old1"
        )
        assert '"copy_of": "parts"' in connection.execute(recorded).scalar_one()
    assert files.check_and_list_problems("parts") == []
    assert METADATA.tables["pieces_old1"].info["copy_of"] == "parts"


@pytest.mark.parametrize("files", ["postgresql"], indirect=True)
def test_a_role_without_rights_gets_the_sql_and_records_the_rename(files):
    before = files.all_rows("pieces")
    files.declare_as("parts")
    with limited(files) as role:
        with pytest.raises(ConfigurationError, match="this role may not change") as raised:
            role.rename_own("pieces", "parts")
        assert "--sql" in raised.value.remedy
        script = role.rename_sql(role.plan_rename("pieces", "parts"))
        assert (script[0], script[-1]) == ("BEGIN", "COMMIT")
        with files.warehouse.writing() as connection:
            for statement in script[1:-1]:
                connection.exec_driver_sql(statement)
        assert role.rename_own("pieces", "parts") == "rename table pieces to parts"
    assert files.all_rows("parts") == before
    assert files.check_and_list_problems("parts") == []
    with files.warehouse.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(declared_tables)) == 2
