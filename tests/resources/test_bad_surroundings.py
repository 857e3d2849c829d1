"""A disk, a folder or a database that is not as it should be, below a load that is."""

import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.domains.finra.declaration import FinraDataset
from orchestration_project.domains.finra.tables.weekly import finra_otc_weekly
from orchestration_project.engine.connections.artifacts import PARTIAL
from orchestration_project.engine.contracts.values import MAX_KEY_TEXT_BYTES, MAX_TEXT_BYTES
from orchestration_project.engine.warehouse.frames import build_frame, insert_frame
from orchestration_project.settings import PROJECT_ROOT, child_environment
from orchestration_project.tables.spine import landings
from tests.bad_input import EVERY_ROW, NOTHING, promise, watched
from tests.resources import test_bad_files as files
from tests.resources.weeks import NOON, PartitionLoader, row

LOAD = """
import resource, signal, sys, tempfile
from datetime import date
from pathlib import Path
from orchestration_project.errors import OrchestrationError
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.captures import Captures
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.engine.warehouse import Warehouse
from tests.resources.weeks import StoppedClock, week_load

below, limit, temporary = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
tempfile.tempdir = temporary or None
if limit:  # no file may grow above it: to a program, a disk without space
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store = FolderStore(below / "artifacts")
with Warehouse(f"sqlite:///{below}/x.sqlite", clock=StoppedClock()) as warehouse:
    source = FinraFiles(below / "files", Captures(store), StoppedClock())
    load = week_load(source, warehouse, store, below)
    try:
        print(load.write_batch(load.take("OTCE|2025-11-10")))
    except OrchestrationError as error:
        print(error)
"""


def load_in_a_child_and_expect_no_error(below: Path, *, limit: int = 0, temporary: str = "") -> str:
    command = [sys.executable, "-c", LOAD, str(below), str(limit), temporary]
    done = subprocess.run(  # noqa: S603 - our own program
        command,
        env=child_environment(PYTHONPATH=str(PROJECT_ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def all_changed(folder: Path) -> None:
    """Let the file be another one in every row, so that loading it takes space."""
    (folder / files.NAME).write_bytes(files.GOOD.replace(b"|7|", b"|9|"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "name"),
    [
        (1_000, "test_a_load_on_a_full_disk_leaves_all_as_it_was"),
        (40_000, "full_disk_below_the_database"),
    ],
)
def test_a_load_on_a_full_disk_leaves_all_as_it_was(limit: int, name: str, tmp_path: Path):
    with files.opened(tmp_path) as (load, partition_loader, folder):
        all_changed(folder)
        with watched(partition_loader) as kept:
            message = load_in_a_child_and_expect_no_error(tmp_path, limit=limit)
            assert promise(name).is_seen_in(message), message
            assert kept() == promise(name).kept == NOTHING
            assert not list((tmp_path / "artifacts" / PARTIAL).iterdir())
        with watched(partition_loader) as kept:  # and with space again
            load.write_batch(load.take(files.KEY))
            assert (kept(), set(partition_loader.quantities().values())) == (EVERY_ROW, {9})


@pytest.mark.slow
def test_a_load_needs_no_temporary_folder(tmp_path: Path):
    promised = promise("test_a_load_needs_no_temporary_folder")
    with files.opened(tmp_path) as (_, partition_loader, folder), watched(partition_loader) as kept:
        all_changed(folder)
        message = load_in_a_child_and_expect_no_error(tmp_path, temporary="/proc/nowhere")
        assert (promised.is_seen_in(message), kept(), promised.kept) == (
            True,
            EVERY_ROW,
            EVERY_ROW,
        ), message


@pytest.mark.slow
def test_a_missing_database_file_is_made_and_loaded_again(tmp_path: Path):
    promised = promise("test_a_missing_database_file_is_made_and_loaded_again")
    with files.opened(tmp_path):
        pass
    for path in tmp_path.glob("x.sqlite*"):
        path.unlink()
    shutil.rmtree(tmp_path / "files")
    with files.opened(tmp_path) as (_, partition_loader, _):  # loads, into a database that it makes
        assert (
            promised.kept,
            partition_loader.count(finra_otc_weekly),
            partition_loader.count(landings),
        ) == (
            EVERY_ROW,
            300,
            1,
        )
        assert partition_loader.rows(landings, "rows_added") == [(300,)]


@pytest.mark.slow_on_postgresql
def test_the_longest_texts_that_the_contract_lets_through_fit_the_keys_of_each_database(
    partition_loader,
):
    longest = [secrets.token_hex(MAX_TEXT_BYTES)[:MAX_TEXT_BYTES] for _ in range(2)]
    partition_loader.write_batch(row(*longest))
    partition_loader.write_batch(row(*longest, share_quantity=1))  # into the history, too
    assert partition_loader.quantities() == {longest[0]: 1}


@pytest.mark.parametrize("dataset", DATASETS, ids=lambda dataset: dataset.name)
def test_the_longest_texts_of_a_further_dataset_fit_its_keys_in_each_database(
    partition_loader: PartitionLoader, dataset: FinraDataset
):
    values = {"Date": NOON.date(), "Number": 1}
    longest = {
        field.column.key: values.get(field.kind, secrets.token_hex(MAX_KEY_TEXT_BYTES // 2))
        for field in dataset.fields
    }
    more = {"known_to": NOON, "change_cause": "source", "rule_version": "1"}
    loaded = {**longest, "capture_id": 1, "known_from": NOON}
    with partition_loader.warehouse.writing() as connection:
        for table, row_of in ((dataset.table, loaded), (dataset.history, {**loaded, **more})):
            insert_frame(connection, table, build_frame([row_of], table))
