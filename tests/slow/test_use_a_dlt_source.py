"""The page on dlt sources, executed in a project folder of its own; runs of Dagster, and YAML."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys

import pytest
import zstandard

from orchestration_project.settings import PROJECT_ROOT
from tests.expecting import expect_exit
from tests.faulty_server import FaultyServer, Reply

PAGE = PROJECT_ROOT / "docs" / "how-to" / "use-a-dlt-source.md"
TOKEN = "0123456789abcdef"
ADDRESS = "https://api.example.com"
DAY = "2026-11-23"

PROJECT = """\
[project]
name = "shop"
version = "0"

[tool.orchestrate]
"""
RETURNS = """\
type: orchestration_project.DltDataset
attributes:
  name: returns
  key: [id]
  partitions: {every: day, since: 2026-11-20}
  fields:
    - {name: id, type: text, description: number of the return}
  source:
    rest_api:
      client: {base_url: "https://api.example.com", auth: {type: bearer}}
      resources:
        - name: returns
          endpoint:
            path: orders
            params: {day: "{partition}"}
            data_selector: items
            paginator: single_page
    secrets: {client.auth.token: SHOP_TOKEN}
"""


def blocks(language):
    """Return the blocks of the page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def vendor():
    """A vendor with a bearer token and three pages of orders, whose amounts a test may change."""
    amounts = {"1": "6.82", "2": "10.00", "3": "0.01"}

    def answer(request):
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(401)
        query = dict(pair.split("=") for pair in request.target.partition("?")[2].split("&"))
        number = query.get("page", "1")
        row = {"id": f"{query['day']}-{number}", "total": {"amount": amounts[number]}}
        body = {"items": [row], "pages": len(amounts)}
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    with FaultyServer(answer) as server:
        yield amounts, server


@pytest.fixture
def project(tmp_path, vendor):
    """A project with the sources of the page, one in YAML, and what runs a script in it."""
    folder = tmp_path / "shop"
    api, database = blocks("python")
    for name, file, text in (
        ("orders", "source.py", api),
        ("customers", "source.py", database),
        ("returns", "defs.yaml", RETURNS),
    ):
        (folder / "defs" / name).mkdir(parents=True)
        (folder / "defs" / name / file).write_text(text.replace(ADDRESS, vendor[1].url))
    (folder / "pyproject.toml").write_text(PROJECT)
    with sqlite3.connect(tmp_path / "customers.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE customers (name TEXT PRIMARY KEY, joined_on DATE);"
            "INSERT INTO customers VALUES ('Ada', '2026-11-23'), ('Bob', '2026-11-24')"
        )
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, module in (("orchestrate", "orchestration_project"), ("dagster", "dagster")):
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (programs / name).chmod(0o755)
    environment = {
        "PATH": f"{programs}:{os.defpath}",
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(PROJECT_ROOT),
        "DOMAINS": "shop",
        "SHOP_TOKEN": TOKEN,
        "SHOP_DATABASE": f"sqlite:///{tmp_path}/customers.sqlite",
        "DEMO_CLOCK_NOW": "2026-11-25T09:00:00+00:00",
    }

    def run(script, **more):
        done = subprocess.run(  # noqa: S603 - commands of our page
            [shutil.which("bash") or "bash", "-eu", "-c", script],
            cwd=folder,
            env=environment | more,
            capture_output=True,
            text=True,
            check=False,
        )
        expect_exit(done)
        return done.stdout + done.stderr

    return folder, run


def exported(run, table, *options):
    """Return the lines of a day's rows."""
    script = f"orchestrate export {table} --columns order_id,amount {' '.join(options)} 2>/dev/null"
    return run(script).splitlines()[1:]


@pytest.mark.slow
def test_the_page_loads_restates_and_replays_an_api(project, vendor):
    folder, run = project
    amounts, server = vendor
    declare, replay = blocks("sh")
    said = run(declare)
    assert re.search(r"orders, 2026-11-23: 3 rows, 0 rejects", said)
    first = [f"{DAY}-1,6.820000", f"{DAY}-2,10.000000", f"{DAY}-3,0.010000"]
    assert exported(run, "orders") == first
    known = "orchestrate export orders --columns known_from --limit 1 2>/dev/null"
    before = run(known).splitlines()[1]

    amounts["2"] = "11.00"
    run(f"orchestrate load orders {DAY}", DEMO_CLOCK_NOW="2026-11-26T09:00:00+00:00")
    later = [first[0], f"{DAY}-2,11.000000", first[2]]
    assert exported(run, "orders") == later
    assert exported(run, "orders", f"--as-of '{before}'") == first

    requested = len(server.requests)
    run(replay, SHOP_TOKEN="")
    assert len(server.requests) == requested
    assert exported(run, "orders") == later
    run("orchestrate verify --balance")
    assert run(f"grep -rl {TOKEN} . || true") == ""
    assert not (folder.parent / "home").exists()


@pytest.mark.slow
def test_a_job_of_dagster_loads_a_database_and_a_component(project):
    folder, run = project
    run("orchestrate migrate")
    run(f"orchestrate load customers {DAY}")
    names = "orchestrate export customers --columns name 2>/dev/null"
    assert run(names).splitlines() == ["name", "Ada"]
    tags = f'--tags \'{{"dagster/partition": "{DAY}"}}\''
    run(f"dagster job execute -m orchestration_project.definitions -j shop_returns {tags}")
    ids = "orchestrate export returns --columns id 2>/dev/null"
    assert run(ids).splitlines() == ["id", f"{DAY}-1"]
    assert "personal?" not in run("orchestrate check")
    erase = "orchestrate erase shop/customer --reason asked --yes --only-database"
    run(f"echo Ada | {erase}")
    assert run(names).splitlines() == ["name"]
    stored = [zstandard.decompress(file.read_bytes()) for file in folder.rglob("*.zst")]
    assert any(DAY.encode() in body for body in stored)
    assert not any(b"Ada" in body for body in stored)
