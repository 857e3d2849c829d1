"""More rows than are held in memory: spilled while they come, loaded range by range."""

import tracemalloc
from pathlib import Path

import pytest
import yaml

from orchestration_project.domains.plugins.manifest import read_manifest
from orchestration_project.domains.plugins.protocol import Emit, Row
from orchestration_project.domains.plugins.rows import MAX_HELD_ROWS
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.resources.plugins.loading import Emissions
from orchestration_project.tables.spine import rejects
from tests.plugin_files import manifest
from tests.resources.plugins.plugin_runner import TITLES, PluginRunner, body

MANY = 2 * MAX_HELD_ROWS + 100
BUDGET = {"seconds": 60, "rows": 2 * MANY}
ROW = """lambda n, title="x", name="k": (f"{name}{n}", {"title": title})"""
FIRST = f"""row = {ROW}
run.emit("items", (row(n * 7919 % {MANY}) for n in range({MANY})))"""
SECOND = f"""row = {ROW}
run.emit("items", (row(n, "y" if n == 5 else "x") for n in range(9, -1, -1)))
run.emit("items", (row(n) for n in range(10, {MANY - 50})))
run.emit("items", (row(n, name="new") for n in range(20)))"""


def peak_bytes(row_count: int, scratch: Path) -> int:
    """Return the most memory that Python takes while so many rows are emitted and validated."""
    emissions = Emissions(read_manifest(manifest_text()), "", scratch)
    tracemalloc.start()
    try:
        for start in range(0, row_count, 500):
            rows = [Row(f"key-{n}", {"title": f"title {n}"}) for n in range(start, start + 500)]
            emissions.add_rows(Emit("items", rows))
        for row_set in emissions.row_sets.values():
            row_set.validated(plugin="rss", partition_key="")
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def manifest_text() -> str:
    """Return a manifest with a row set."""
    return yaml.safe_dump(manifest(row_schemas={"items": TITLES}))


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(tmp_path: Path):
    few = peak_bytes(MAX_HELD_ROWS, tmp_path)
    assert peak_bytes(3 * MAX_HELD_ROWS, tmp_path) < 1.2 * few


@pytest.mark.slow
def test_many_rows_are_compared_with_what_is_loaded(plugins: PluginRunner):
    plugins.add(body(FIRST), budget=BUDGET)
    assert plugins.run().written["items"].rows_added == MANY
    plugins.add(body(SECOND), budget=BUDGET)
    written = plugins.run().written["items"]
    assert (written.rows_added, written.rows_changed, written.rows_removed) == (20, 1, 50)
    payloads = plugins.payloads()
    assert len(payloads) == MANY - 30
    assert payloads["k5"] == '{"title":"y"}'
    assert not plugins.run().written["items"].change


def test_a_key_that_comes_again_much_later_is_rejected(plugins: PluginRunner):
    again = 'run.emit("items", [("k0", {"title": "again"})])'
    plugins.add(body(f"{FIRST}\n{again}"), budget=BUDGET)
    with pytest.raises(QuarantinedError):
        plugins.run()
    [reject] = plugins.rows(rejects)
    assert (reject.line_number, reject.reason_code) == (MANY + 1, "duplicate_key")
    assert "found it in line 1, too" in reject.reason
    assert not plugins.rows()
