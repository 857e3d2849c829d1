"""`make migration` writes the version that makes what is declared, and undoes it again."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
    text,
)

from orchestration_project.engine.warehouse import Warehouse, migrating, upgrade_plans
from orchestration_project.engine.warehouse.connecting import DATABASE_SIZE
from orchestration_project.engine.warehouse.migrating import build_alembic_config
from orchestration_project.errors import ConfigurationError
from orchestration_project.migrations import VERSIONS
from orchestration_project.migrations.__main__ import main
from orchestration_project.migrations.changes import ChangeComment, alembic_config
from orchestration_project.migrations.declared import declared_schema
from orchestration_project.migrations.frozen import View as FrozenView
from orchestration_project.migrations.next_version import changes_between, write_next_version
from orchestration_project.tables.catalogue import METADATA, VIEWS
from orchestration_project.tables.schema import BYTEWISE_TEXT
from orchestration_project.tables.views import View
from tests.migrations.test_migrations import definition, differences, rows, shape
from tests.programs import PROJECT_ROOT
from tests.resources.fence_histories import Histories, check_fences, drawn
from tests.resources.weeks import MONDAY, PartitionLoader, StoppedClock, row

LOST = {"source_fields", "finra_symbol_week"}
"""Tables that lose what they hold, or a part of it, by the changes below."""

HEAD = str(ScriptDirectory.from_config(alembic_config()).get_current_head())
"""The newest version of the project."""


def with_folder(config: Config, folder: Path) -> Config:
    """Have Alembic find the versions in ``folder``, too."""
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", os.pathsep.join([str(VERSIONS), str(folder)]))
    return config


def write(name: str, folder: Path, metadata: MetaData, views: Any = VIEWS) -> Any:
    script = ScriptDirectory.from_config(with_folder(alembic_config(), folder))
    return write_next_version(name, script, folder, metadata, views)


def copied() -> MetaData:
    """Return the declarations, to be changed."""
    metadata = MetaData()
    for table in METADATA.tables.values():
        table.to_metadata(metadata)
    return metadata


def declare(metadata: MetaData, name: str, comment: str, *columns: Column[Any]) -> Table:
    return Table(name, metadata, *columns, comment=comment, sqlite_with_rowid=False)


def redeclare(
    metadata: MetaData, name: str, changes: Mapping[str | int, Column[Any]], without: str = ""
) -> Table:
    """Declare a table again, with other columns by name and new ones by place."""
    old = metadata.tables[name]
    columns = [
        changes[column.name] if column.name in changes else column._copy()
        for column in old.columns
        if column.name != without
    ]
    for place, column in changes.items():
        if isinstance(place, int):
            columns.insert(place, column)
    indexes = [(index.name, [column.name for column in index.columns]) for index in old.indexes]
    metadata.remove(old)
    table = declare(metadata, name, str(old.comment), *columns)
    for index, names in indexes:
        Index(index, *(table.c[name] for name in names))
    return table


def optional(name: str) -> Column[Any]:
    return Column(name, Double(), comment="New")


def changed() -> tuple[MetaData, dict[str, View[Any]]]:
    """Return declarations with each kind of change that can be written."""
    metadata, views = copied(), dict(VIEWS)
    weather = declare(
        metadata,
        "weather",
        'One row per place\'s day: "rain" \\ sun; 10 % of it: less.',
        Column("place", BYTEWISE_TEXT, primary_key=True, comment="The place"),
        Column("day", BigInteger(), primary_key=True, autoincrement=False, comment="The day"),
        Column("state", BYTEWISE_TEXT, nullable=False, server_default="is:dry", comment="State"),
    )
    Index("weather_by_state", weather.c.state, weather.c.day, unique=True)
    metadata.remove(metadata.tables["source_fields"])
    blobs = metadata.tables["blobs"]
    blobs.append_column(optional("entropy"))
    blobs.append_column(
        Column("codec", BYTEWISE_TEXT, nullable=False, server_default="zstd", comment="Its codec")
    )
    weekly = metadata.tables["finra_otc_weekly"]
    weekly.append_column(optional("lot_size"))
    history = len(metadata.tables["finra_otc_weekly_history"].columns) - 3
    redeclare(metadata, "finra_otc_weekly_history", {history: optional("lot_size")})
    redeclare(metadata, "finra_symbol_week", {}, without="top_5_venue_share").comment = "Another"
    landings = metadata.tables["landings"]
    landings.c.run_id.comment = "Another run's comment"
    Index("landings_by_cause", landings.c.change_cause, landings.c.landed_at)
    deliveries = metadata.tables["deliveries"]
    deliveries.indexes -= {
        index for index in deliveries.indexes if index.name == "deliveries_by_run"
    }
    status = Column(
        "http_status", BigInteger(), nullable=False, server_default=text("599"), comment="Status"
    )
    sha256 = Column("sha256", BYTEWISE_TEXT, nullable=True, comment="The blob")
    redeclare(metadata, "captures", {"http_status": status, "sha256": sha256})
    del views["operations_alert_states"]
    columns = Table("v_weather", MetaData(), weather.c.place._copy(), comment="Where: 'wet'")
    views["v_weather"] = View(columns, select(weather.c.place).where(weather.c.state == "a:wet"))
    runs = VIEWS["workflow_runs"]
    views["workflow_runs"] = View(runs.table, runs.select.where(text("status <> 'DELETED'")))
    return metadata, views


def check(connection: Connection, metadata: MetaData, views: dict[str, View[Any]]) -> None:
    """Check that the database has what is declared."""
    assert differences(connection, metadata) == []
    for name, table in metadata.tables.items():
        assert shape(connection, name)["columns"] == {column.name for column in table.columns}
    found = inspect(connection)
    assert sorted(found.get_view_names()) == sorted(views)
    for name, view in views.items():
        options = {"literal_binds": True}
        sql = view.select.compile(dialect=connection.dialect, compile_kwargs=options)
        connection.exec_driver_sql(f"CREATE VIEW declared_one AS {sql}".replace("%%", "%"))
        assert definition(connection, name) == definition(connection, "declared_one")
        connection.exec_driver_sql("DROP VIEW declared_one")


def test_a_column_amid_others_is_added_as_the_last_one_of_table_and_history():
    metadata = copied()
    for name in ("finra_short_interest", "finra_short_interest_history"):
        redeclare(metadata, name, {3: optional("lot_size")})
    before, after = declared_schema(METADATA, VIEWS), declared_schema(metadata, VIEWS)
    changes = changes_between(before, after)
    assert [change.words.format(change) for change in changes] == [
        "add column finra_short_interest.lot_size",
        "add column finra_short_interest_history.lot_size",
    ]
    migrated_schema = dict(before)
    for change in changes:
        change.record(migrated_schema)
    assert migrated_schema != after
    assert changes_between(migrated_schema, after) == []


@pytest.mark.slow_after_first
def test_a_column_is_loaded_and_kept_in_history_wherever_it_stands(migrated, tmp_path):
    with migrated.writing() as connection:
        for name in ("finra_otc_weekly", "finra_otc_weekly_history"):
            connection.execute(text(f"ALTER TABLE {name} DROP COLUMN product_type"))
            connection.execute(text(f"ALTER TABLE {name} ADD COLUMN product_type TEXT"))
            assert inspect(connection).get_columns(name)[-1]["name"] == "product_type"
    partition_loader = PartitionLoader(migrated, tmp_path / "store")
    partition_loader.write_batch(row("AAA", product_type="CS"), row("BBB", product_type="ETF"))
    partition_loader.write_batch(row("AAA", product_type="ADR", share_quantity=7))
    with migrated.reading() as connection:
        for name, found in {
            "finra_otc_weekly": {("AAA", "ADR", 7)},
            "finra_otc_weekly_history": {("AAA", "CS", 100), ("BBB", "ETF", 100)},
        }.items():
            columns = METADATA.tables[name].c
            chosen = select(columns.symbol, columns.product_type, columns.share_quantity)
            assert set(map(tuple, connection.execute(chosen))) == found


@pytest.mark.slow
def test_a_version_makes_what_is_declared_keeps_the_rows_and_can_be_undone(migrated, tmp_path):
    partition_loader = PartitionLoader(migrated, tmp_path / "store")
    partition_loader.write_batch(row("AAA"), row("BBB"))
    partition_loader.write_batch(row("AAA", share_quantity=7))
    before = rows(migrated)
    metadata, views = changed()
    written = write("many_changes", tmp_path, metadata, views)
    assert written.file == tmp_path / f"v{int(HEAD) + 1:04}_many_changes.py"
    assert "finra_symbol_week.top_5_venue_share" in written.dropped
    assert "source_fields" in written.dropped
    with migrated.writing() as connection:
        command.upgrade(with_folder(build_alembic_config(connection), tmp_path), "head")
    with migrated.writing() as connection:
        check(connection, metadata, views)
        weather = metadata.tables["weather"]
        connection.execute(insert(weather), {"place": "here", "day": 1})
        assert connection.execute(select(weather.c.state)).scalars().all() == ["is:dry"]
        captures, blobs = metadata.tables["captures"], metadata.tables["blobs"]
        statuses = [599 if capture[10] is None else capture[10] for capture in before["captures"]]
        assert connection.execute(select(captures.c.http_status)).scalars().all() == statuses
        assert set(connection.execute(select(blobs.c.entropy, blobs.c.codec))) == {(None, "zstd")}
    assert write("nothing", tmp_path, metadata, views) is None
    with migrated.writing() as connection:
        command.downgrade(with_folder(build_alembic_config(connection), tmp_path), HEAD)
        check(connection, METADATA, VIEWS)
    after = rows(migrated)
    assert {name for name in after if after[name] != before[name]} <= {"captures", *LOST}
    assert len(after["finra_symbol_week"]) == len(before["finra_symbol_week"]) > 0
    assert [capture[:10] for capture in after["captures"]] == [
        capture[:10] for capture in before["captures"]
    ]


@pytest.mark.slow_after_first
def test_an_earlier_database_is_refused_until_it_is_upgraded_in_place(
    migrated, tmp_path, monkeypatch
):
    histories = Histories(PartitionLoader(migrated, tmp_path, week_start=MONDAY), StoppedClock())
    for step in drawn(2, 20):
        histories.play(*step)
    before = rows(migrated)
    metadata, next_version = copied(), f"{int(HEAD) + 1:04}"
    place = Column("place", BYTEWISE_TEXT, primary_key=True, comment="The place")
    declare(metadata, "weather", "One row per place.", place)
    write("add_weather", tmp_path, metadata)
    monkeypatch.setattr(migrating, "NEWEST_VERSION", next_version)
    monkeypatch.setattr(
        migrating,
        "build_alembic_config",
        lambda connection: with_folder(build_alembic_config(connection), tmp_path),
    )
    with pytest.raises(ConfigurationError, match="of an older version") as error:
        migrated.prepare(holds="real")
    assert error.value.expected == f"version {next_version}"
    assert error.value.found == f"version {HEAD}"
    assert "`orchestrate migrate`" in error.value.remedy
    assert (migrated.version(), "weather" in table_names(migrated)) == (HEAD, False)
    migrated.upgrade(holds="real")
    assert (migrated.version(), "weather" in table_names(migrated)) == (next_version, True)
    assert rows(migrated) == before
    check_fences(migrated)


@pytest.mark.slow_after_first
def test_a_planned_upgrade_names_changes_and_rows_and_writes_nothing(migrated, tmp_path):
    partition_loader = PartitionLoader(migrated, tmp_path / "store")
    partition_loader.write_batch(row("AAA"), row("BBB"))
    before = rows(migrated)
    plan = migrated.plan_upgrade()
    assert (plan.is_any, plan.seconds, plan.additional_bytes) == (False, 0, 0)
    assert (plan.version, plan.database_bytes) == (HEAD, size_of(migrated))
    write("many_changes", tmp_path, *changed())

    def build_config(connection: Connection) -> Config:
        return with_folder(build_alembic_config(connection), tmp_path)

    with (
        patch.object(migrating, "NEWEST_VERSION", "another"),
        patch.object(upgrade_plans, "build_alembic_config", build_config),
    ):
        plan = migrated.plan_upgrade()
    assert (rows(migrated), migrated.version()) == (before, HEAD)
    with migrated.writing() as connection:
        command.upgrade(build_config(connection), "head")
    [pending] = plan.pending
    assert (pending.version, pending.title) == (f"{int(HEAD) + 1:04}", "Many changes.")
    assert {
        "create table weather",
        "drop table source_fields, with its rows",
        "copy table captures to one with other columns",
        "add column finra_otc_weekly.lot_size",
        "add column finra_otc_weekly_history.lot_size",
        "drop column finra_symbol_week.top_5_venue_share",
        "create index landings_by_cause of landings",
        "drop index deliveries_by_run of deliveries",
        "drop view operations_alert_states",
    } <= {*pending.changes}
    assert plan.rows == {name: len(before[name]) for name in plan.rows}
    assert plan.rows["captures"] == 1
    assert plan.seconds == 2
    assert plan.additional_bytes > 0
    assert set(table_names(migrated)) - before.keys() >= {"weather"}


@pytest.mark.slow
def test_a_pending_version_that_is_killed_leaves_all_rows_and_is_repeated(migrated, tmp_path):
    partition_loader = PartitionLoader(migrated, tmp_path / "store")
    partition_loader.write_batch(row("AAA"), row("BBB"))
    partition_loader.write_batch(row("AAA", share_quantity=7))
    before, folder = rows(migrated), tmp_path / "versions"
    folder.mkdir()
    write("many_changes", folder, *changed())
    url = migrated._engine.url.render_as_string(hide_password=False)
    for number in KILLED_AT:
        arguments = [url, str(folder), str(number)]
        ended = subprocess.run([sys.executable, "-c", UPGRADE, *arguments], check=False)  # noqa: S603
        assert ended.returncode == -signal.SIGKILL
        assert (rows(migrated), migrated.version()) == (before, HEAD)
    with migrated.writing() as connection:
        command.upgrade(with_folder(build_alembic_config(connection), folder), "head")
        check(connection, *(changed()))


KILLED_AT = (1, 3, 10, 15, 20)
"""Statements at which an upgrade by the changes above is killed."""

UPGRADE = """
import sys
from pathlib import Path

from alembic import command

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.migrating import build_alembic_config
from tests.migrations.stored_states import kill_at_statement
from tests.migrations.test_next_version import with_folder

kill_at_statement(int(sys.argv[3]))
with Warehouse(sys.argv[1], clock=Clock()) as warehouse, warehouse.writing() as connection:
    command.upgrade(with_folder(build_alembic_config(connection), Path(sys.argv[2])), "head")
"""
"""A program that applies the versions of a folder, and is killed at a statement."""


def size_of(warehouse: Warehouse) -> int:
    """Return the size of the database."""
    with warehouse.reading() as connection:
        return connection.execute(DATABASE_SIZE[connection.dialect.name]).scalar_one()


def table_names(warehouse: Warehouse) -> Sequence[str]:
    with warehouse.reading() as connection:
        return inspect(connection).get_table_names()


@pytest.mark.slow_on_postgresql
def test_the_sql_of_a_written_version_can_be_printed(migrated, tmp_path, capsys):
    metadata, views = changed()
    write("many_changes", tmp_path, metadata, views)
    with migrated.writing() as connection:
        config = with_folder(build_alembic_config(connection), tmp_path)
        command.upgrade(config, f"{HEAD}:head", sql=True)
    printed = capsys.readouterr().out
    assert "INSERT INTO captures_new" in printed
    assert "'a:wet'" in printed


@pytest.mark.slow
def test_a_written_version_is_in_the_form_that_the_linter_asks_for(tmp_path):
    metadata, views = changed()
    written = write("many_changes", tmp_path, metadata, views)
    for arguments in (["check", "--ignore=E501"], ["format", "--check"]):
        command_line = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "--config"]
        ended = subprocess.run(  # noqa: S603 - our own program
            [*command_line, str(PROJECT_ROOT / "pyproject.toml"), str(written.file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"byte_count": Column("byte_count", BYTEWISE_TEXT)}, "change from bigint to text"),
        ({5: Column("new", BYTEWISE_TEXT, nullable=False)}, "blobs.new would be required"),
        ({"sha256": Column("sha256", BYTEWISE_TEXT, nullable=False)}, "would have the key"),
    ],
)
def test_a_change_that_depends_on_rows_is_to_be_written_by_hand(columns, found, tmp_path):
    metadata = copied()
    for column in columns.values():
        column.comment = "Changed"
    keys = {"byte_count": Column("byte_count", BigInteger(), primary_key=True, comment="Key")}
    redeclare(metadata, "blobs", columns | (keys if "sha256" in columns else {}))
    with pytest.raises(ConfigurationError, match="write this step manually") as error:
        write("x", tmp_path, metadata)
    assert found in error.value.found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("column", "found"),
    [
        (Column("x", Integer()), "Integer"),
        (Column("x", Text()), "Text"),
        (Column("x", BYTEWISE_TEXT, ForeignKey("blobs.sha256")), "a ForeignKeyConstraint"),
        (Column("x", BYTEWISE_TEXT, unique=True), "a UniqueConstraint"),
    ],
)
def test_what_a_version_cannot_hold_is_refused_by_name(column, found, tmp_path):
    metadata = copied()
    metadata.tables["blobs"].append_column(column)
    with pytest.raises(ConfigurationError, match="a version cannot hold what blobs") as error:
        write("x", tmp_path, metadata)
    assert found in error.value.found
    assert list(tmp_path.iterdir()) == []


def test_a_view_with_other_comments_keeps_its_grants_and_is_not_created_again():
    before = declared_schema(METADATA, VIEWS)
    runs = before["workflow_runs"]
    assert isinstance(runs, FrozenView)
    other = replace(runs, comment="Runs", columns={**runs.columns, "status": "Its state"})
    changes = changes_between(before, before | {"workflow_runs": other})
    assert changes == [
        ChangeComment("workflow_runs", None, runs.comment, "Runs", is_view=True),
        ChangeComment("workflow_runs", "status", runs.columns["status"], "Its state", is_view=True),
    ]
    schema = dict(before)
    for change in changes:
        change.record(schema)
    assert schema["workflow_runs"] == other


def test_nothing_is_written_where_nothing_changed(capsys):
    before = {*VERSIONS.glob("*.py")}
    assert main("add_weather") == 0
    written = {*VERSIONS.glob("*.py")} - before
    for file in written:  # other tests would take it for a version
        file.unlink()
    assert capsys.readouterr().out.startswith("nothing changed since the newest version")
    assert not written


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "NAME is missing"), ("Add x", "invalid NAME 'Add x'"), ("../x", "invalid NAME '../x'")],
)
def test_an_invalid_name_is_refused_with_an_example(name, said, capsys):
    assert main(name) == 1
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert "e.g. make migration NAME=add_weather" in error
