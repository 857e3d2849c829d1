"""The benchmark works, on tiny sizes; how fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.__main__ import BY_DEFAULT, MEASURES
from benchmarks.gateway_memory import Sample, growth
from benchmarks.report import (
    MAX_BARS,
    at_least,
    at_most,
    informative_line,
    line,
    table,
    unmeasured,
    write_json,
    write_plot,
)
from benchmarks.rig import source
from benchmarks.source import most_in_a_second
from orchestration_project.settings import PROJECT_ROOT
from tests.postgres import new_folder

QUICK = {"copies": 7, "sqlite": 1, "contract": 2}
"""Some measures, and how many lines each has."""


def smoke_and_check(output: Path, *names: str) -> list[dict]:
    """Run the benchmark with tiny sizes and return its lines."""
    with new_folder() as folder:  # its PostgreSQL is in there
        options = ["--smoke", "--repeat", "1", "--folder", str(folder), "--output", str(output)]
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-m", "benchmarks", *options, "--only", *names],
            cwd=PROJECT_ROOT,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = json.loads(output.read_text())
    assert all(measure["measure"] in done.stdout for measure in lines)
    return lines


@pytest.mark.slow
def test_each_side_loads_the_same_rows_for_every_measure(tmp_path):
    lines = smoke_and_check(tmp_path / "bench.json", *QUICK)
    assert len(lines) == sum(QUICK.values())
    for measure in lines:
        assert {"measure", "ours", "against", "ratio", "required", "holds"} <= measure.keys()
    loaded = [measure["rows"] for measure in lines if measure["rows"]]
    assert loaded, "no line compares rows"
    assert all(ours == theirs > 0 for ours, theirs in loaded)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MEASURES.keys() - QUICK.keys()))
def test_every_other_measure_runs_too(tmp_path, name):
    lines = smoke_and_check(tmp_path / "bench.json", name)
    assert all(
        ours == theirs > 0
        for ours, theirs in (measure["rows"] for measure in lines if measure["rows"])
    )
    probes = [
        measure for measure in lines if measure["measure"].startswith("nothing changed: probes")
    ]
    assert [probe["ratio"] for probe in probes] == [1] * (name == "again")


def test_a_ratio_is_of_medians_and_is_held_to_its_bound():
    slower = line("x", "rows/s", [1.0, 9.0, 3.0], [4.0, 4.0, 4.0], at_least(1))
    assert (slower.ours, slower.against, slower.ratio, slower.holds) == (3.0, 4.0, 0.75, False)
    assert slower.ours_spread == (1.0, 9.0)
    assert line("x", "s", [3.0], [4.0], at_most(0.75)).holds
    assert not line("x", "s", [3.1], [4.0], at_most(0.75)).holds


def test_a_ratio_without_a_bound_is_reported_and_passes():
    found = line("x", "s", [3.0], [4.0], None)
    assert (found.required, found.holds) == ("", True)


def test_a_value_without_a_comparison_is_reported_and_passes(tmp_path):
    alone = informative_line("prune", "runs/s", 1234.5, note="20 runs")
    assert "| prune | runs/s | 1,234 |  |  |  |  | 20 runs |" in table([alone])
    assert write_json(tmp_path / "bench.json", [alone]) == [alone]


def test_what_could_not_be_measured_does_not_hold():
    missed = unmeasured("dlt", at_least(12), "dlt is not installed")
    assert (missed.ratio, missed.holds) == (None, False)
    assert "| dlt |  |  |  |  | >= 12 | NO | dlt is not installed |" in table([missed])


def test_measures_that_were_not_asked_for_keep_their_lines(tmp_path):
    file = tmp_path / "bench.json"
    first, second = (line(name, "s", [1.0], [2.0], at_most(1)) for name in "ab")
    write_json(file, [first, second])
    again = line("a", "s", [2.0], [1.0], at_most(1))
    merged = write_json(file, [again])
    assert [(measure.measure, measure.holds) for measure in merged] == [("a", False), ("b", True)]
    assert json.loads(file.read_text())[0]["ratio"] == 2.0


@pytest.mark.slow
def test_the_plot_names_every_measure_that_has_a_ratio_and_a_bound(tmp_path):
    file = tmp_path / "plot.svg"
    measured = line("raw COPY", "rows/s", [1.0], [2.0], at_least(1))
    write_plot(file, [measured, unmeasured("dlt", at_least(12), "absent")])
    svg = file.read_text()
    assert "raw COPY" in svg
    assert ">dlt<" not in svg


def test_the_plot_of_many_measures_has_those_nearest_to_their_bound(tmp_path):
    file = tmp_path / "plot.svg"
    ratios = range(1, MAX_BARS + 2)
    write_plot(file, [line(f"m{ratio}", "s", [ratio], [1.0], at_least(1)) for ratio in ratios])
    svg = file.read_text()
    assert all(f">m{ratio}<" in svg for ratio in ratios[:-1])
    assert f">m{ratios[-1]}<" not in svg


def test_growth_of_memory_is_in_mebibytes_a_minute():
    assert growth([Sample(10, 200), Sample(12, 201), Sample(14, 202)]) == 0.5
    assert growth([Sample(1, 200), Sample(2, 201), Sample(3, 200)]) == 0


def test_the_measure_of_memory_which_takes_an_hour_is_measured_only_when_it_is_asked_for():
    assert MEASURES.keys() - set(BY_DEFAULT) == {"gateway_memory"}


def test_the_fullest_second_is_found_wherever_it_begins():
    assert most_in_a_second([]) == 0
    assert most_in_a_second([0.0, 0.5, 0.9, 1.0, 1.45, 3.0]) == 4


@pytest.mark.slow
def test_the_source_serves_ranges_of_symbols_that_make_up_the_whole_and_no_large_offset():
    with source(600, 1) as src, httpx.Client(trust_env=False) as client:

        def requested(*compared, **more):
            values = {"weekStartDate": ("EQUAL", "2026-02-09"), "tierIdentifier": ("EQUAL", "T1")}
            filters = [(name, *value) for name, value in values.items()]
            filters += [("issueSymbolIdentifier", *comparison) for comparison in compared]
            names = ("fieldName", "compareType", "fieldValue")
            query = {
                "compareFilters": [
                    dict(zip(names, column_filter, strict=True)) for column_filter in filters
                ]
            }
            query |= {"limit": 5000, "offset": 0, "fields": []} | more
            return client.post(f"{src.url}/data/group/otcMarket/name/weeklySummary", json=query)

        probe = {"limit": 1, "fields": ["issueSymbolIdentifier"]}
        [found] = requested(**probe, offset=300).json()
        symbol = found["issueSymbolIdentifier"]
        below, above = requested(("LESSER", symbol)), requested(("GTE", symbol))
        totals = [int(answer.headers["Record-Total"]) for answer in (below, above, requested())]
        lines = [answer.text.splitlines()[1:] for answer in (below, above, requested())]
        assert totals == [len(answer_lines) for answer_lines in lines]
        assert totals[0] <= 300
        assert sorted(lines[0] + lines[1]) == sorted(lines[2])
        assert requested(("GTE", symbol), **probe).json() == [found]
        assert requested(("GTE", symbol), ("LESSER", symbol), **probe).json() == []
        assert requested(offset=500_001).status_code == 400
