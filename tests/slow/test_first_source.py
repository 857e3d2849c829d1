"""The tutorial of a first source, walked over the wheel; its lines and seconds are counted."""

import re
import runpy
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from orchestration_project.settings import PROJECT_ROOT
from tests.expecting import expect_exit
from tests.programs import free_port, key_in, wait_for

WHEEL = runpy.run_path(str(PROJECT_ROOT / ".ci" / "wheel.py"))
PAGE = (PROJECT_ROOT / "docs" / "first-source.md").read_text()
BLOCKS = re.findall(r"^```(?:sh|python)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
PORT = "8765"

MAX_DECLARED_LINES = 40
MAX_COMMANDS = 22
MAX_UI_SECONDS = 240
"""Time in which a UI starts, ends, or shows a page on a busy machine."""

MAX_SECONDS = 300
"""A newcomer has the first table within five minutes, without the time of reading."""


class Walk:
    """A newcomer who runs the blocks of the page one after the other."""

    def __init__(self, folder, programs):
        self.folder = folder
        self.environment = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(folder)}
        self.port = str(free_port())
        self.seconds = 0.0

    def run(self, script):
        """Execute a block, and return what it prints."""
        self.environment |= dict(re.findall(r"^export (\w+)=(\S+)$", script, re.MULTILINE))
        began = time.monotonic()
        done = subprocess.run(  # noqa: S603 - commands of our page
            ["/bin/bash", "-eu", "-c", script.replace(PORT, self.port)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.seconds += time.monotonic() - began
        expect_exit(done)
        return done.stdout

    def serve(self, code):
        """Start the API of the page, and return it once it answers."""
        (self.folder / "api.py").write_text(code.replace(PORT, self.port))
        api = subprocess.Popen(
            [sys.executable, "api.py"], cwd=self.folder, stderr=subprocess.DEVNULL
        )
        wait_for(self._is_served)
        return api

    @contextmanager
    def ui(self):
        """Start the UI of the project; give its address, and the key that it wrote."""
        output, port = self.folder / "ui.log", free_port()
        program = shutil.which("orchestrate", path=self.environment["PATH"])
        with output.open("w") as log:
            served = subprocess.Popen(  # noqa: S603 - the command of our page, with its own port
                [str(program), "ui", "--port", str(port)],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(lambda: "op_" in output.read_text(), seconds=MAX_UI_SECONDS)
            yield f"http://127.0.0.1:{port}", key_in(output.read_text())
        finally:
            served.terminate()
            served.wait(timeout=MAX_UI_SECONDS)

    def _is_served(self):
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(self.port))):
            return True
        return False


def partitions_in_chromium(address, key):
    """Log in to the UI in a browser, and return the text of the asset's partitions."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = chromium.new_page(base_url=address)
        page.set_default_timeout(MAX_UI_SECONDS * 1000)
        path = "/assets/my_data/quotes?view=partitions"
        page.goto(path)
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.get_by_text("Materialized (").wait_for()
        text = page.locator("body").inner_text()
        chromium.close()
    return text


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_newcomer_walks_from_an_empty_folder_to_an_explained_restatement(tmp_path):
    walk = Walk(tmp_path, WHEEL["install"](WHEEL["build_wheel"](tmp_path), tmp_path / "wheel"))
    init, code, start, propose, show, look, load, restate, past, explain, verify, stop = BLOCKS
    assert (start.split()[0], stop.split()[0]) == ("python3", "kill")
    walk.run(init)
    walk.folder = tmp_path / "my_data"
    with walk.serve(code) as api:
        try:
            assert "25 rows added" in walk.run(propose)
            assert walk.seconds < MAX_SECONDS
            declared = [line for line in walk.run(show).splitlines() if line]
            assert len(declared) <= MAX_DECLARED_LINES
            assert "a load would have: 25 rows added" in walk.run(look)
            assert "10 partitions" in walk.run(load)
            assert "25 changed" in walk.run(restate)
            now, before = (walk.run(line) for line in past.strip().splitlines())
            assert ("S00,1.250000" in now, "S00,0.250000" in before) == (True, True)
            found = walk.run(explain)
            assert "published   4.250000" in found
            assert "recomputed  4.250000, equal" in found
            walk.run(verify)
            with walk.ui() as (address, key):
                shown = partitions_in_chromium(address, key)
            assert ("Failed (0)" in shown, "Materialized (10)" in shown) == (True, True)
        finally:
            api.kill()
    assert walk.run("grep -rl tutorial-key --exclude=api.py . || true") == ""
    commands = [line for block in BLOCKS if block != code for line in block.strip().splitlines()]
    assert len(commands) <= MAX_COMMANDS
    print(f"{len(declared)} declared lines, {len(commands)} lines, {walk.seconds:.0f} s")  # noqa: T201
