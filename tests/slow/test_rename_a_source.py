"""A source renamed by the commands: loads before and after, killed renames, Dagster's asset."""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import date, timedelta

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests import programs

pytestmark = pytest.mark.slow

PROJECT = '[project]\nname = "shop"\nversion = "0"\n\n[tool.orchestrate]\n'
SOURCE = """
from orchestration_project import Daily, Dataset, Field, file_source

pieces = Dataset(
    "pieces",
    key=["name"],
    partitions=Daily("2026-11-01"),
    fields=[
        Field("name", str, "its name", subject="person"),
        Field("amount", int, "pieces"),
    ],
    source=file_source("in/{partition}.csv", format="csv"),
)
"""
DAYS = [str(date(2026, 11, 1) + timedelta(days=number)) for number in range(10)]
DAY = DAYS[3]
FIRST, LATER = ["name,amount", "Ann,4", "Bob,1"], ["name,amount", "Ann,40", "Bob,1"]
EVENTS = """
import sys
import dagster as dg
from orchestration_project.instance.storage import open_instance

with open_instance() as instance:
    key = dg.AssetKey(["shop", sys.argv[1]])
    print(*sorted(instance.get_materialized_partitions(key)))
    for partition in sys.argv[2:]:
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
        [record] = instance.fetch_materializations(wanted, limit=1).records
        metadata = record.asset_materialization.metadata
        print(metadata["dagster/row_count"].value, "known_from" in metadata, end=" ")
        print(metadata["renamed_from"].value.to_user_string(), end=" ")
        print(metadata["renamed_event_run"].value)
"""


class Shop:
    """A project with one source of files, whose commands run in processes of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "PYTHONPATH": str(PROJECT_ROOT),
            "STATE_DIR": str(folder / "state"),
            "DATABASE_URL": f"sqlite:///{folder / 'shop.sqlite'}",
            "DEMO_CLOCK_NOW": "2026-11-12T09:00:00+00:00",
        }
        self.write("pyproject.toml", PROJECT)
        self.declare("pieces")
        for day in DAYS:
            self.write(f"in/{day}.csv", f"name,amount\nAnn,{int(day[-2:])}\nBob,1\n")

    def write(self, name, text):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def declare(self, name):
        self.write("defs/pieces/source.py", SOURCE.replace('"pieces",', f'"{name}",', 1))

    def start(self, *arguments):
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments, text=None, program=("-m", "orchestration_project")):
        process = self.start(*program, *arguments)
        output, error = process.communicate(text)
        if process.returncode:
            raise RuntimeError(error)
        return output.splitlines()

    def rows(self, table, *options):
        chosen = ("--where", f"day={DAY}", "--columns", "name,amount")
        return self.run("export", table, *chosen, *options)

    def killed_rename(self, lock):
        """Kill `rename table` while another process holds a lock that it needs."""
        with lock():
            rename = ("rename", "table", "pieces", "parts")
            process = self.start("-m", "orchestration_project", *rename)
            used = [0.0]

            def waits():  # it has begun to use the file of the lock, and uses the processor no more
                used.append(self.cpu(process))
                return used[-2] > 0.5 and used[-1] - used[-2] < 0.2

            programs.wait_for(waits, poll_seconds=1.5)
            process.kill()
            process.communicate()

    @staticmethod
    def cpu(process):
        times = programs.psutil.Process(process.pid).cpu_times()
        return times.user + times.system

    def database(self):
        return closing(sqlite3.connect(self.folder / "shop.sqlite"))

    @contextmanager
    def locked_database(self):
        """Hold the write lock of the database: a rename has begun nothing."""
        with self.database() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.rollback()

    @contextmanager
    def locked_instance(self):
        """Hold the lock of Dagster's storage: the tables are renamed, the events are missing."""
        with (self.folder / "state" / "dagster" / "storage.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def tables(self):
        with self.database() as connection:
            found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return {name for (name,) in found if name.startswith(("pieces", "parts"))}

    def events(self, name, *partitions):
        return self.run(name, *partitions, program=("-c", EVENTS))


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path / "shop")
    made.run("migrate")
    made.run("backfill", "pieces", "--from", DAYS[0], "--to", DAYS[-1])
    return made


def test_a_renamed_source_keeps_all_and_a_killed_rename_leaves_either_name_whole(shop):
    known = ("export", "pieces", "--where", f"day={DAY}", "--columns", "known_from")
    shop.write(f"in/{DAY}.csv", "name,amount\nAnn,40\nBob,1\n")
    before = max(shop.run(*known)[1:])
    shop.run("load", "pieces", DAY)
    assert (shop.rows("pieces"), shop.rows("pieces", "--as-of", before)) == (LATER, FIRST)

    shop.declare("parts")
    shop.killed_rename(shop.locked_database)
    assert shop.tables() == {"pieces", "pieces_history"}
    shop.killed_rename(shop.locked_instance)
    assert shop.tables() == {"parts", "parts_history"}
    assert (shop.rows("parts"), shop.rows("parts", "--as-of", before)) == (LATER, FIRST)
    assert shop.events("parts") == [""]
    shop.run("verify", "--chain")

    said = shop.run("rename", "source", "pieces", "parts")
    assert said == [
        "did move defs/pieces to defs/parts",
        "did report 10 loads of shop/pieces as shop/parts to Dagster",
    ]
    assert (shop.folder / "defs" / "parts" / "source.py").is_file()
    assert shop.events("parts", DAY)[0].split() == DAYS
    [run] = {line.split()[-1] for line in shop.events("parts", DAY)[1:]}
    assert shop.events("parts", DAY)[1] == f"2 True shop/pieces {run}"
    assert shop.run("rename", "source", "pieces", "parts") == [
        "the tables are as the sources declare"
    ]

    shop.run("replay", "--table", "parts", DAY)
    assert (shop.rows("parts"), shop.rows("parts", "--as-of", before)) == (LATER, FIRST)
    shop.run("replay", "--group", f"pieces:{DAYS[4]}#1")
    shop.write(f"in/{DAY}.csv", "name,amount\nAnn,41\nBob,1\n")
    shop.run("load", "parts", DAY)
    assert shop.rows("parts")[1] == "Ann,41"
    shop.run("verify", "--chain")
    shop.run("verify", "--balance")
    erase = ("erase", "shop/person", "--reason", "asked", "--yes", "--only-database")
    shop.run(*erase, text="Bob\n")
    assert shop.rows("parts") == ["name,amount", "Ann,41"]
    assert shop.rows("parts", "--as-of", before) == FIRST[:2]
    shop.run("verify", "--chain")
    shutil.rmtree(shop.folder / "in")
