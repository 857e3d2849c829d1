"""Retakes the pictures in README and docs: pages of the UI, and charts that runs have drawn.

`make pictures` executes README, tutorial and the demos in a clone, and photographs the UI on the
way in Debian's Chromium. Look at the pictures before you commit them.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.settings.project import DEFINITIONS
from tests import pages, programs
from tests.clones import environment_of, kill_programs_of, make_clone, run

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = PROJECT_ROOT / "docs" / "images"

FIRST_DAY = {"DEMO_CLOCK_NOW": "2026-11-24T15:00:00Z"}
"""The day of the outputs of README; the tutorial sets the clock itself."""

SETTLED_MS = 6_000
"""Time in which a page has drawn its graph or table after its last request."""

WEEKLY = "/assets/finra/otc_weekly"
FAILED_RUN = "{runsOrError(filter: {statuses: [FAILURE]}, limit: 1) {... on Runs {results {id}}}}"


class Picture(NamedTuple):
    """A picture of a page.

    Attributes:
        name: Name of the file below docs/images, without its suffix.
        path: Path and query of the page.
    """

    name: str
    path: str


class Chart(NamedTuple):
    """A chart that a run has stored.

    Attributes:
        file: Name of the file below docs/images.
        folder: Folder of the artifact store.
    """

    file: str
    folder: str


LOGIN = "tutorial-login"

AFTER_THE_FIRST_RUN = (
    Picture("asset-graph", f"{WEEKLY}?view=lineage"),
    Picture("operate-automation", "/automation"),
    Picture("operate-lineage", "/asset-groups"),
    Picture("operate-options", f"/locations/{DEFINITIONS}/jobs/finra_otc_weekly"),
)
WITH_QUARANTINED_WEEKS = (
    Picture("operate-attention", "/attention"),
    Picture("operate-control-tower", "/assets/operations/control_tower?view=events"),
    Picture("tutorial-lineage", f"{WEEKLY}?view=lineage"),
    Picture("tutorial-partitions", f"{WEEKLY}?view=partitions"),
    Picture(
        "tutorial-failed-check",
        f"{WEEKLY}?view=checks&checkDetail=reconciles_with_symbol_totals",
    ),
)
AFTER_A_REPLAY = (
    Picture("tutorial-replayed", f"{WEEKLY}?view=partitions&partition=T1|2026-02-02"),
    Picture("tutorial-failed-run", "/runs/FAILED_RUN"),
)
AFTER_A_RESTATEMENT = (
    Picture("tutorial-restated", f"{WEEKLY}?view=partitions&partition=T1|2026-01-12"),
)
AFTER_A_BACKFILL = (
    Picture("operate-alerts", "/assets/operations/alerts?view=events"),
    Picture("tutorial-backfill", "/assets/finra/treasury_weekly?view=partitions"),
)

OF_DEMOS = (
    Picture(
        "documents-verdict", "/assets/documents/capture?view=checks&checkDetail=has_good_verdict"
    ),
    Picture("mqtt-mirror", "/assets/mqtt/mirror?view=events"),
    Picture("web-drift", "/assets/web/shop_items?view=checks&checkDetail=fields_are_filled"),
)
DEMOS = ("make run-documents", "make run-mqtt", "make run-web")

TRADE_ACTIVITY = Chart("trade-activity.png", "plots/finra/trade_activity")
MQTT_GRAPH = Chart("mqtt-graph.svg", "plots/mqtt/graph")

STEPS = (
    ((1,), WITH_QUARANTINED_WEEKS, (TRADE_ACTIVITY,)),
    ((4, 5), AFTER_A_REPLAY, ()),
    ((6,), AFTER_A_RESTATEMENT, ()),
    ((9,), AFTER_A_BACKFILL, ()),
)
"""Chapters of the tutorial that are executed; the pictures and charts that are taken then."""


def retake(folder: Path) -> None:
    """Execute the pages in a clone in ``folder``, and take all pictures."""
    make_clone(folder)
    try:
        run(folder, "make run", FIRST_DAY)
        with ui(folder, FIRST_DAY) as (port, key):
            photograph(port, key, AFTER_THE_FIRST_RUN)
        key = ""
        for chapters, pictures, charts in STEPS:
            for script in scripts_of(chapters):
                run(folder, script, {})
            copy_charts(folder, charts)
            with ui(folder, {}) as (port, first_key):
                key = key or first_key
                photograph(port, key, pictures)
        for script in DEMOS:
            run(folder, script, {})
        with ui(folder, {}) as (port, _):
            photograph(port, key, OF_DEMOS)
        copy_charts(folder, [MQTT_GRAPH])
    finally:
        kill_programs_of(folder)


def copy_charts(clone: Path, charts: Sequence[Chart]) -> None:
    """Copy the latest file of each chart from the artifact stores of a clone."""
    for chart in charts:
        stored = clone.glob(f"var*/**/artifacts/{chart.folder}/*{Path(chart.file).suffix}")
        shutil.copyfile(max(stored, key=lambda file: file.stat().st_mtime), IMAGES / chart.file)


def files() -> set[str]:
    """Return the names of all files that are retaken."""
    steps = [pictures for _, pictures, _ in STEPS]
    taken = [
        picture for pictures in (AFTER_THE_FIRST_RUN, *steps, OF_DEMOS) for picture in pictures
    ]
    charts = {chart.file for _, _, charts in STEPS for chart in charts}
    return (
        charts
        | {MQTT_GRAPH.file}
        | {f"{name}.png" for name in (LOGIN, *(picture.name for picture in taken))}
    )


def scripts_of(chapters: tuple[int, ...]) -> Iterator[str]:
    """Yield the commands of chapters of the tutorial that are executed as they stand."""
    file = PROJECT_ROOT / "docs" / "tutorial.md"
    whole = file.read_text()
    for block in pages.blocks(file):
        chapter = int(whole[: whole.index(block.text)].rpartition("\n## ")[2].split(".")[0])
        if block.language == "sh" and chapter in chapters and (script := pages.script(block)):
            yield script


@contextmanager
def ui(clone: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Run the UI of a clone; yield its port, and the key that its first start shows."""
    port, log = programs.free_port(), clone / "ui.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [str(clone / ".venv/bin/orchestrate"), "ui", "--port", str(port)],
            cwd=clone,
            env={**environment_of(clone), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        programs.wait_for(lambda: "Dagster UI: " in log.read_text(), programs.PATIENCE_SECONDS)
        yield port, programs.key_in(log.read_text()) if "op_" in log.read_text() else ""
        process.terminate()
        process.wait(programs.PATIENCE_SECONDS)


def photograph(port: int, key: str, pictures: tuple[Picture, ...]) -> None:
    """Take pictures of the pages of a UI, as an admin."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = chromium.new_page(base_url=f"http://127.0.0.1:{port}")
        page.set_default_timeout(programs.PATIENCE_SECONDS * 1000)
        log_in(page, key)
        page.set_viewport_size({"width": 1280, "height": 800})
        for picture in pictures:
            path = picture.path
            if "FAILED_RUN" in path:
                [failed] = programs.graphql(port, FAILED_RUN, key)["runsOrError"]["results"]
                path = path.replace("FAILED_RUN", failed["id"])
            page.goto(path)
            page.wait_for_timeout(SETTLED_MS)
            page.screenshot(path=IMAGES / f"{picture.name}.png")
        chromium.close()


def log_in(page: "Page", key: str) -> None:
    """Log in at a gateway; the page of the login is a picture, too."""
    page.set_viewport_size({"width": 1280, "height": 520})
    page.goto("/login")
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=IMAGES / f"{LOGIN}.png")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login" not in url)


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        retake(Path(made) / "orchestration_project")
