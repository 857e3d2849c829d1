"""The page on a source of one's own, executed over the installed wheel from an empty folder."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading

import pytest

import orchestration_project
from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.faulty_server import FaultyServer, Reply

WHEEL = runpy.run_path(str(PROJECT_ROOT / ".ci" / "wheel.py"))
PAGE = PROJECT_ROOT / "docs" / "how-to" / "add-a-source.md"
KEY = "0123456789abcdef"
SYMBOLS, PAGE_SIZE = 25, 10
ADDRESS = "https://api.example.com"
VARIED = re.findall(r"^\| .* \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)
NAMES = {name: getattr(orchestration_project, name) for name in orchestration_project.__all__}


@pytest.fixture
def vendor():
    """A vendor of quotes with a key in a header and cursor paging, and the days it restated."""
    restated = set()

    def answer(request):
        if request.headers.get("x-api-key") != KEY:
            return Reply(401)
        path, _, query = request.target.partition("?")
        start, day = int(query.partition("=")[2] or 0), path.rpartition("/")[2]
        rows = [
            {
                "Symbol": f"S{number:03}",
                "Price": {"close": f"{number + (day in restated)}.25", "currency": "EUR"},
                "volume": number * 10,
                "tradedAt": f"{day}T16:00:00+01:00",
            }
            for number in range(start, min(start + PAGE_SIZE, SYMBOLS))
        ]
        following = str(start + PAGE_SIZE) if start + PAGE_SIZE < SYMBOLS else None
        body = {"meta": {"next": following}, "data": {"rows": rows}}
        return Reply(body=json.dumps(body).encode())

    with FaultyServer(answer) as server:
        yield server, restated


def commands():
    """Return the commands of the page, a script for each block."""
    return re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def source_of_page():
    """Return the file that the page shows whole."""
    [source] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return source


def with_field(source):
    """Return the file with the further field of the page's table."""
    last = '        Field("volume", int, "shares"),\n'
    return source.replace(last, f"{last}        {VARIED[-1]},\n")


def declare(folder, source):
    """Write the file to its place in the project."""
    file = folder / "defs" / "quotes" / "source.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(source)


@pytest.mark.slow
def test_a_newcomer_declares_loads_and_restates_a_source_by_the_page(tmp_path, vendor):
    server, restated = vendor
    programs = WHEEL["install"](WHEEL["build_wheel"](tmp_path), tmp_path / "environment")
    environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path)}
    folder = tmp_path

    def run(script):
        return subprocess.run(  # noqa: S603 - commands of our page
            [shutil.which("bash") or "bash", "-eu", "-c", script.replace(ADDRESS, server.url)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    # The project and its first load.
    init, load, again, propose, schema, keep = commands()
    said = run(init)
    folder = tmp_path / "my_data"
    assert "6 rows" in run("orchestrate export temperatures 2>&1 >/dev/null")
    assert "wrote 13 files" in said
    environment["QUOTES_KEY"] = KEY
    declare(folder, source_of_page().replace(ADDRESS, server.url))
    loaded = run(f"exec 2>&1\n{load}")
    assert "a load would have: 25 rows added" in loaded
    assert "6 partitions" in loaded
    assert "125" in loaded.splitlines()[-1], "five days, and a holiday between them"

    # A restated day: the new values now, the old ones as of before.
    restated.add("2026-11-25")
    assert "1 partition" in run(f"exec 2>&1\n{again}")
    export = again.strip().splitlines()[-1].removesuffix(" --limit 1")
    now = run(export)
    assert now.count("\n2026-11-25,") == SYMBOLS
    assert ",1.250000,0," in now
    known = "orchestrate export quotes --where day=2026-11-25 --columns known_from --limit 1"
    before = f"{run(known).splitlines()[1][:19]}Z"
    assert ",0.250000,0," in run(f"{export} --as-of {before}")

    # A proposed source; a further field.
    assert "25 rows added" in run(f"{propose} 2>&1")
    proposed = (folder / "defs" / "trades" / "source.py").read_text()
    assert len([line for line in proposed.splitlines() if line]) <= 40
    assert "as the sources declare" in run("orchestrate schema diff")
    declare(folder, with_field(source_of_page().replace(ADDRESS, server.url)))
    assert "did add column quotes.currency" in run(schema)
    assert ",EUR" in run(f"orchestrate load quotes 2026-11-25\n{export} --columns symbol,currency")
    # Kept samples, tests, and no key in any file.
    captures = run("orchestrate artifacts list --where dataset=quotes --limit 1")
    kept = run(keep.replace(" ID", f" {captures.splitlines()[1].split()[0]}"))
    assert (folder / "defs" / "quotes" / "samples").is_dir()
    assert kept.splitlines()[1].startswith("quotes")
    assert "temperatures" in run("orchestrate test || true")
    run("orchestrate verify --balance")
    assert run(f"grep -rl {KEY} . || true") == ""


def evaluate(text):
    """Return the value of an expression of the page."""
    return eval(text, NAMES)  # noqa: S307 - our page


@pytest.mark.slow
def test_each_variation_of_the_page_is_a_part_of_a_declaration():
    source, partitions, field = VARIED
    assert list(evaluate(f"dict({source})")) == ["source"]
    assert list(evaluate(f"dict({partitions})")) == ["partitions"]
    assert evaluate(field).optional is True


def lines_until(lines, beginning):
    """Return the lines up to the first one that begins so."""
    found = []
    for line in lines:
        found.append(line)
        if line.startswith(beginning):
            return found
    raise AssertionError(f"no line {beginning!r} in {found}")


@pytest.mark.slow
def test_ui_follows_a_source_that_is_added_and_one_that_is_wrong(tmp_path):
    folder = tmp_path / "my_data"
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "PYTHONPATH": str(PROJECT_ROOT)}
    orchestrate = [sys.executable, "-m", "orchestration_project"]
    subprocess.run([*orchestrate, "init", str(folder)], env=environment, cwd=tmp_path, check=True)  # noqa: S603 - ours
    port = str(programs.free_port())
    with subprocess.Popen(  # noqa: S603 - ours
        [*orchestrate, "ui", "--watch", "--port", port],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as served:
        assert served.stdout is not None
        lines = iter(served.stdout.readline, "")
        watchdog = threading.Timer(programs.PATIENCE_SECONDS, served.kill)
        watchdog.start()  # without an end of the program, a missing line would be waited for
        try:
            lines_until(lines, "Dagster UI:")
            source = folder / "defs" / "second" / "source.py"
            source.parent.mkdir()
            first = (folder / "defs" / "temperatures" / "source.py").read_text()
            source.write_text(first.replace('"temperatures"', '"second"'))
            said = lines_until(lines, "The declared sources changed")
            source.write_text("x = ")
            refused = lines_until(lines, "  where:")
        finally:
            watchdog.cancel()
            served.terminate()
    assert said[-3:] == [
        "did create table second\n",
        "did create table second_history\n",
        "The declared sources changed: the code is loaded again.\n",
    ]
    assert "invalid source file: it cannot be imported\n" in refused
    assert refused[-1] == "  where: file=defs/second/source.py:1\n"
