"""A table as a folder of Parquet files that pandas, polars, DuckDB and Arrow read as one table."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path

import polars as pl
import pyarrow.dataset as ds
import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import PROJECT_ROOT
from tests.resources.weeks import MONDAY, PartitionLoader, row

NEXT = MONDAY + timedelta(days=7)
FILE = "part-0.parquet"
T1 = f"week_start={MONDAY}/tier=T1/{FILE}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def export(folder: Path, *options: str, table: str = "finra_otc_weekly") -> int:
    return main(["export", table, "--dataset", str(folder), *options])


def files(folder: Path) -> Iterator[str]:
    return (str(path.relative_to(folder)) for path in sorted(folder.rglob("*.parquet")))


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_dataset_has_a_file_for_each_week_and_tier_and_all_readers_see_one_table(
    partition_loader: PartitionLoader, folder: Path, capfd
):
    import pandas as pd

    partition_loader.write_batch(row("AAA", share_quantity=5), row("BBB"))
    replace(partition_loader, tier="T2").write_batch(row("CCC"))
    replace(partition_loader, week_start=NEXT).write_batch(row("AAA", share_quantity=7))
    assert export(folder) == 0
    assert "3 partitions written, 0 unchanged, 0 removed; 4 rows" in capfd.readouterr().err
    assert list(files(folder)) == [
        T1,
        f"week_start={MONDAY}/tier=T2/{FILE}",
        f"week_start={NEXT}/tier=T1/{FILE}",
    ]
    expected = {("AAA", "T1", MONDAY, 5), ("BBB", "T1", MONDAY, 100)}
    expected |= {("CCC", "T2", MONDAY, 100), ("AAA", "T1", NEXT, 7)}
    names = ["symbol", "tier", "week_start", "share_quantity"]
    by_polars = pl.read_parquet(folder / "**/*.parquet", hive_partitioning=True)
    assert set(by_polars.select(names).iter_rows()) == expected
    by_pandas = pd.read_parquet(folder)
    by_pandas["week_start"] = by_pandas["week_start"].astype(str).map(date.fromisoformat)
    assert set(by_pandas[names].itertuples(index=False, name=None)) == expected
    assert ds.dataset(folder, partitioning="hive").count_rows() == 4


RECIPES = {
    line.split(".")[0]: line
    for line in (PROJECT_ROOT / "docs/how-to/export.md").read_text().splitlines()
    if "lake/otc" in line and line.startswith(("pandas", "polars", "duckdb", "pyarrow"))
}
"""The line of the documentation that reads a dataset, by library."""


def test_there_is_a_recipe_for_each_reader():
    assert set(RECIPES) == {"pandas", "polars", "duckdb", "pyarrow"}


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize("library", RECIPES)
def test_each_recipe_reads_the_whole_table(
    partition_loader: PartitionLoader, folder: Path, library: str
):
    module = import_module(library)
    if library == "pyarrow":
        assert module.dataset is ds
    partition_loader.write_batch(row("AAA", share_quantity=5), row("BBB", mpid=None))
    replace(partition_loader, week_start=NEXT, tier="OTCE").write_batch(
        row("AAA", share_quantity=7)
    )
    assert export(folder) == 0
    found = eval(RECIPES[library].replace("lake/otc", str(folder)), {library: module})  # noqa: S307 - ours
    table = found.to_table() if library == "pyarrow" else found
    rows = table.to_arrow_table() if library == "duckdb" else table
    columns = ["symbol", "tier", "week_start", "share_quantity", "mpid"]
    if library == "pandas":
        objects = rows[columns].astype(object)
        values = objects.where(objects.notna(), None).itertuples(index=False, name=None)
    elif library == "polars":
        values = rows.select(columns).iter_rows()
    else:
        values = (tuple(record[name] for name in columns) for record in rows.to_pylist())
    assert {
        (symbol, tier, str(week), shares, mpid) for symbol, tier, week, shares, mpid in values
    } == {
        ("AAA", "T1", str(MONDAY), 5, "XATS"),
        ("BBB", "T1", str(MONDAY), 100, None),
        ("AAA", "OTCE", str(NEXT), 7, "XATS"),
    }


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_only_the_partition_that_changed_is_written_again(
    partition_loader: PartitionLoader, folder: Path, capfd
):
    partition_loader.write_batch(row("AAA"), row("BBB"))
    replace(partition_loader, week_start=NEXT).write_batch(row("AAA"))
    export(folder)
    before = {name: (folder / name).stat().st_ino for name in files(folder)}
    partition_loader.write_batch(row("AAA"), version="2")  # a row less
    capfd.readouterr()
    assert export(folder) == 0
    assert "1 partitions written, 1 unchanged, 0 removed; 2 rows" in capfd.readouterr().err
    after = {name: (folder / name).stat().st_ino for name in files(folder)}
    assert {name for name in after if after[name] != before[name]} == {T1}
    assert export(folder) == 0
    assert "0 partitions written, 2 unchanged" in capfd.readouterr().err


@pytest.mark.slow_on_postgresql
def test_a_value_that_changed_or_a_file_that_is_gone_is_written_again(
    partition_loader: PartitionLoader, folder: Path
):
    partition_loader.write_batch(row("AAA", share_quantity=5))
    export(folder)
    partition_loader.write_batch(row("AAA", share_quantity=6), version="2")
    export(folder)
    assert pl.read_parquet(folder / T1)["share_quantity"].to_list() == [6]
    (folder / T1).unlink()
    export(folder)
    assert pl.read_parquet(folder / T1).height == 1


@pytest.mark.slow_on_postgresql
def test_a_partition_without_rows_loses_its_file_and_the_manifest_names_all(
    partition_loader: PartitionLoader, folder: Path
):
    partition_loader.write_batch(row("AAA"))
    replace(partition_loader, week_start=NEXT).write_batch(row("AAA"))
    options = ["--where", "symbol=AAA", "--columns", "symbol,share_quantity"]
    export(folder, *options)
    partition_loader.write_batch(row("BBB"), version="2")
    export(folder, *options)
    assert list(files(folder)) == [f"week_start={NEXT}/tier=T1/{FILE}"]
    assert not (folder / f"week_start={MONDAY}").exists()
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert [partition["path"] for partition in manifest["partitions"]] == list(files(folder))
    assert manifest["columns"] == ["symbol", "share_quantity"]


@pytest.mark.slow_on_postgresql
def test_values_of_any_text_are_names_of_folders_and_null_is_that_of_hive(
    partition_loader: PartitionLoader, folder: Path
):
    partition_loader.write_batch(
        row("../x/%", participant_name=None), row("B", participant_name="A=B c")
    )
    by = ["--partition-by", "symbol,participant_name"]
    assert export(folder, *by) == 0
    found = {name.removesuffix(f"/{FILE}") for name in files(folder)}
    nothing = "__HIVE_DEFAULT_PARTITION__"
    assert found == {
        f"symbol=..%2Fx%2F%25/participant_name={nothing}",
        "symbol=B/participant_name=A%3DB%20c",
    }
    read = pl.read_parquet(folder / "**/*.parquet", hive_partitioning=True)
    names = ["symbol", "participant_name"]
    assert set(read.select(names).iter_rows()) == {("../x/%", None), ("B", "A=B c")}


@pytest.mark.slow
def test_what_a_killed_export_left_is_overwritten_and_removed(
    partition_loader: PartitionLoader, folder: Path
):
    partition_loader.write_batch(row("AAA"))
    folder.mkdir()
    (folder / f"week_start={MONDAY}" / "tier=T1").mkdir(parents=True)
    (folder / T1).write_bytes(b"half")
    (folder / ".orchestration_project-export-1.partial").write_bytes(b"half")
    assert export(folder) == 0
    assert pl.read_parquet(folder / T1).height == 1
    assert sorted(path.name for path in folder.iterdir()) == [
        "_manifest.json",
        f"week_start={MONDAY}",
    ]


@pytest.mark.slow_after_first
@pytest.mark.slow_on_postgresql
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--partition-by", "nothing"], "finra_otc_weekly has no column 'nothing'"),
        (["--partition-by", "symbol", "--columns", "symbol"], "no column is left for the files"),
        (["--where", "symbol=B"], "was written with another where"),
        (["--partition-by", "tier"], "was written with another partition_by"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_dataset_stays(
    partition_loader: PartitionLoader, folder: Path, capfd, options: list[str], said: str
):
    partition_loader.write_batch(row("AAA"))
    export(folder)
    before = sorted(files(folder))
    assert export(folder, *options) != 0
    assert said in capfd.readouterr().err
    assert sorted(files(folder)) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--as-of", "2026-01-01T00:00:00Z"], "--as-of cannot be used with --dataset"),
        (["--format", "csv"], "--format cannot be used with --dataset"),
        (["--limit", "5"], "--limit cannot be used with --dataset"),
    ],
)
def test_an_option_that_means_nothing_for_a_dataset_is_refused(
    folder: Path, capfd, options: list[str], said: str
):
    with pytest.raises(SystemExit) as ended:
        export(folder, *options)
    assert ended.value.code == 2
    assert said in capfd.readouterr().err
    assert not folder.exists()


@pytest.mark.slow_after_first
def test_a_folder_with_other_files_and_a_changed_manifest_are_refused(
    partition_loader: PartitionLoader, folder: Path, capfd
):
    partition_loader.write_batch(row("AAA"))
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    assert export(folder) == 1
    assert "holds files, and no dataset" in capfd.readouterr().err
    (folder / "thesis.txt").unlink()
    (folder / "_manifest.json").write_text('{"table": 1}')
    assert export(folder) == 1
    assert "is not the manifest of a dataset" in capfd.readouterr().err


@pytest.mark.slow_after_first
def test_a_path_in_a_manifest_that_leads_elsewhere_deletes_nothing(
    partition_loader: PartitionLoader, folder: Path, tmp_path: Path
):
    partition_loader.write_batch(row("AAA"))
    export(folder)
    file = folder / "_manifest.json"
    manifest = json.loads(file.read_text())
    outside = tmp_path / FILE
    outside.write_text("mine")
    manifest["partitions"].append(manifest["partitions"][0] | {"path": f"../{FILE}"})
    file.write_text(json.dumps(manifest))
    assert export(folder) == 0
    assert outside.read_text() == "mine"


@pytest.mark.slow_after_first
def test_a_table_without_a_day_in_its_key_needs_columns_and_one_without_loads_is_written_whole(
    partition_loader: PartitionLoader, folder: Path, capfd
):
    partition_loader.write_batch(row("AAA"))
    assert export(folder, table="blobs") == 1
    assert "has no day in its key" in capfd.readouterr().err
    assert export(folder, "--partition-by", "byte_offset", table="blobs") == 0
    assert list(files(folder)) == [f"byte_offset=__HIVE_DEFAULT_PARTITION__/{FILE}"]
