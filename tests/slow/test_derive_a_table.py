"""The page on derived tables, executed in a project that `orchestrate init` wrote."""

import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from orchestration_project.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "how-to" / "derive-a-table.md").read_text()
SOURCE, *_ = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
LOOK, DERIVE, PAST, DBT = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)

COMPONENT = """\
type: orchestration_project.SqlTable
attributes:
  name: stations
  key: [station]
  fields:
    - {name: station, type: text, description: name of the station}
    - {name: day_count, type: integer, description: days with a value}
  sql: SELECT station, count(*) AS day_count FROM temperatures GROUP BY station
"""
CALLED = """\
from orchestration_project import Field, derived


def spread(stations, extremes):
    frame = stations.to_pandas()
    return frame[["station"]].assign(warmest_days=int(len(extremes)))


spread = derived(
    "spread",
    inputs=["stations", "extremes"],
    function=spread,
    key=["station"],
    fields=[Field("station", str, "its name"), Field("warmest_days", int, "days")],
)
"""


@pytest.fixture
def project(tmp_path):
    """A project of `init` with its example loaded, and `orchestrate` in its folder."""
    folder = tmp_path / "my_data"
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "orchestrate"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestration_project "$@"\n')
    program.chmod(0o700)
    environment = {
        "PATH": f"{programs}:{os.defpath}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(PROJECT_ROOT),
    }

    def run_and_check_status(script, status=0, place=folder):
        done = subprocess.run(  # noqa: S603 - our own commands
            ["/bin/sh", "-ec", script],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    run_and_check_status("orchestrate init my_data", place=tmp_path)
    run_and_check_status("make run")
    return folder, run_and_check_status


def declare(folder, name, text, file="source.py"):
    (folder / "defs" / name).mkdir(exist_ok=True)
    (folder / "defs" / name / file).write_text(text)


@pytest.mark.slow
def test_a_newcomer_derives_a_table_by_the_page(project):
    folder, run = project
    declare(folder, "extremes", SOURCE)
    shown = run(LOOK)
    assert "derived of temperatures" in shown
    assert "a run would have: 1 rows added" in shown
    days = sorted(file.stem for file in (folder / "defs" / "temperatures" / "in").glob("*.csv"))
    assert [line.partition(",")[0] for line in run(DERIVE).splitlines()][-3:] == days
    past = run(PAST.replace("2026-11-20", days[0]))
    assert past.count(days[0]) == 2
    assert "asset_key:\n          - my_data\n          - extremes" in run(f"{DBT}cat sources.yml")

    declare(folder, "stations", COMPONENT, "defs.yaml")
    declare(folder, "spread", CALLED)
    run("orchestrate schema apply\norchestrate load stations\norchestrate load spread")
    assert run("orchestrate export spread --columns station,warmest_days").splitlines()[1:] == [
        f"{line.partition(',')[0]},3"
        for line in run("orchestrate export stations").splitlines()[1:]
    ]
    first = run("orchestrate export stations").splitlines()[1].partition(",")[0]
    for value, input_name in (("stations", "temperatures"), ("spread", "extremes")):
        column = "day_count" if value == "stations" else "warmest_days"
        explained = run(f"orchestrate explain {value} '{first}' {column}")
        assert ", equal" in explained
        assert f"  {input_name}" in explained
    assert '["function", "spread", {"declared_in": "defs/spread/source.py"' in explained
    run("orchestrate verify --balance")


WRONG = {
    "it does not parse": ("FROM temperatures", "FROM", "source.py:15", "line 3, column 9"),
    "it writes": ("SELECT day", "DROP TABLE temperatures; SELECT day", "2 statements", ""),
    "it deletes": (
        "SELECT day",
        "WITH gone AS (DELETE FROM temperatures RETURNING day) SELECT day",
        "only reads",
        "DELETE",
    ),
    "an unknown table": ("temperatures", "temperature", "did you mean", "temperatures"),
    "a table of a domain that is off": (
        "temperatures",
        "finra_symbol_week",
        "which is off",
        "DOMAINS",
    ),
    "itself": ("temperatures", "extremes", "extremes of extremes", "source.py"),
    "another column": ("AS station_count", "AS stations", "stations", "station_count"),
    "a column that is missing": ("count(*)", "count(unknown)", "no such column: unknown", ""),
}


@pytest.mark.slow
def test_a_wrong_query_is_refused_by_check_with_its_file(project):
    folder, run = project
    for old, new, *found in WRONG.values():
        declare(folder, "extremes", SOURCE.replace(old, new))
        error = run("orchestrate check", status=1)
        assert all(text in error for text in ("defs/extremes/source.py", *found)), error
    declare(folder, "extremes", SOURCE.replace("FROM temperatures", "FROM"))
    program = f"{sys.executable} -c 'import orchestration_project.definitions'"
    assert "defs/extremes/source.py:15" in run(program, status=1)


VISITS = """\
from orchestration_project import Daily, Dataset, Field, derived, file_source

visits = Dataset(
    "visits",
    key=["visitor"],
    partitions=Daily("2026-01-01"),
    fields=[
        Field("visitor", str, "name", subject="visitor", personal=True),
        Field("pages", int, "pages read"),
    ],
    source=file_source("defs/visits/in/{partition}.csv", format="csv"),
)
visitors = derived(
    "visitors",
    key=["visitor"],
    fields=[
        Field("visitor", str, "name", subject="visitor", personal=True),
        Field("pages", int, "pages read on all days"),
    ],
    sql="SELECT visitor, cast(sum(pages) AS bigint) AS pages FROM visits GROUP BY visitor",
)
readers = derived(
    "readers",
    key=["reader"],
    fields=[Field("reader", str, "name, not declared as one"), Field("pages", int, "pages")],
    sql="SELECT visitor AS reader, pages FROM visitors",
)
"""


@pytest.mark.slow
def test_an_erased_person_is_gone_from_what_is_derived_and_from_its_history(project):
    folder, run = project
    declare(folder, "visits", VISITS)
    (folder / "defs" / "visits" / "in").mkdir()
    derive = "orchestrate load visitors\norchestrate load readers"
    run("orchestrate schema apply")
    for pages in (3, 4):  # the second load is a restatement: histories have rows
        text = f"visitor,pages\nZaphira Quill,{pages}\nBob,{pages}\n"
        (folder / "defs" / "visits" / "in" / "2026-01-05.csv").write_text(text)
        run(f"orchestrate load visits 2026-01-05\n{derive}")
    optional = VISITS.replace('"pages read"),', '"pages read", optional=True),')
    declare(folder, "visits", optional)
    run("orchestrate schema apply --all")  # which copies the table first
    assert sorted(found_in(folder, "Zaphira")) == sorted(found_in(folder, "Bob"))
    assert {"visitors_history", "readers_history", "visits_old1_history"} < set(
        found_in(folder, "Zaphira")
    )
    run(
        "echo 'Zaphira Quill' | orchestrate erase my_data/visitor --reason asked --yes "
        "--only-database"
    )
    assert found_in(folder, "Zaphira") == []
    assert {"visits", "visitors_history", "readers_history"} < set(found_in(folder, "Bob"))
    run(derive)
    assert found_in(folder, "Zaphira") == []
    run("orchestrate verify --balance")


def found_in(folder, text):
    """Return the tables of the project's database that have rows with a text."""
    names = ["visits", "visitors", "readers"]
    [file] = [path for path in (folder / "var").glob("*.sqlite") if path.stem in ("demo", "real")]
    with closing(sqlite3.connect(file)) as database:
        is_copied = database.execute("SELECT 1 FROM sqlite_schema WHERE name = 'visits_old1'")
        names += ["visits_old1"] * len(is_copied.fetchall())
        return [
            name
            for name in (*names, *(f"{name}_history" for name in names))
            if text in str(database.execute(f"SELECT * FROM {name}").fetchall())  # noqa: S608 - ours
        ]
