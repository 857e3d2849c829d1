"""The page of what needs a person in a real browser: clicks for why, retry and accept; keyboard.

Screenshots, light and dark, go to OPERATOR_SCREENSHOTS, or to a temporary folder.
"""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvicorn
from sqlalchemy import update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.services.attention.marks import Marks
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.spine import captures, rejects
from tests.gateway.api.conftest import Api, open_api
from tests.gateway.api.test_attention import FAILING
from tests.programs import wait_for
from tests.situations import HOUR, SHA256, WEEKLY, Situation

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed"),
]

PARTITION, FAILED_PARTITION = "T2|2026-01-05", "T1|2026-01-05"
TITLE = f"finra/otc_weekly {PARTITION}"


def fill(situation: Situation) -> None:
    """Add entries of several kinds."""
    group = situation.deliver(PARTITION, "held_back", 1)
    situation.audit(group, "is_complete", f"2 rows; SHA-256 {SHA256}")
    other = situation.deliver("2026-01-01", "held_back", 1, "finra_treasury_monthly")
    situation.audit(other, "has_few_rejects", "7 rejects of 90 lines")
    capture = capture_id(group, 1)
    for line in range(1, 61):
        situation.add(
            rejects,
            capture_id=capture,
            table_name=WEEKLY,
            line_number=line,
            record=f"line {line} of the file, with a value that is too long to be a number",
            reason_code="wrong_type",
            reason="expected a whole number of shares",
        )
    situation.add(captures, capture_id=capture, group_id=group, sha256=SHA256, source="finra")
    situation.run(3, "FAILURE", partition_key=FAILED_PARTITION, asset="finra/otc_weekly")
    situation.item("prices_symbols", "AAA", 1, reason_code="transient", reason="timed out")
    situation.item("prices_symbols", "BBB", 2, reason_code="contract", reason="no price")
    situation.alert(1, "open")


class Page:
    """A page whose clicks are counted."""

    def __init__(self, page, folder: Path) -> None:
        self.page, self.folder, self.clicks = page, folder, 0

    def click(self, locator) -> None:
        locator.first.click()
        self.clicks += 1

    def open_attention(self) -> None:
        self.click(self.page.locator("#installation-bar a[href='/attention']"))

    def row(self, title: str):
        return self.page.get_by_role("row").filter(has_text=title)

    def press_to(self, locator) -> None:
        """Press Tab until an element has the focus."""
        locator.first.wait_for()
        for _ in range(120):
            if locator.first.evaluate("each => each === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"not reached by Tab: {locator}")

    def is_as_wide_as_its_window(self) -> bool:
        """Return whether no table or form is cut at the right."""
        boxes = self.page.locator("main, header, table, section").all()
        right = max(box["x"] + box["width"] for box in (box.bounding_box() for box in boxes))
        return right <= self.page.viewport_size["width"]

    def shot(self, name: str) -> None:
        self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[tuple[Api, int]]:
    """A served gateway whose database has the situation."""
    with open_api(tmp_path_factory.mktemp("attention")) as api:
        server = uvicorn.Server(
            uvicorn.Config(api.app, port=0, log_level="critical", lifespan="off")
        )
        thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
        thread.start()
        wait_for(lambda: server.started, poll_seconds=0.01)
        yield api, server.servers[0].sockets[0].getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


@pytest.fixture
def enter(site, browser, tmp_path):
    """Return a function that logs in without scripts, and opens /attention."""
    api, port = site
    contexts = []
    situation = Situation(api.services.warehouse)
    situation.clear()
    fill(situation)
    folder = Path(os.environ.get("OPERATOR_SCREENSHOTS") or tmp_path)  # noqa: TID251 - of the test
    folder.mkdir(parents=True, exist_ok=True)

    def entered(role: Role, *, scheme: str = "light", width: int = 1280) -> Page:
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{port}",
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=False,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto("/login?next=/attention")
        page.get_by_label("Key").fill(str(api.keys[role.value]))
        page.get_by_role("button", name="Log in").click()
        page.goto("/attention")
        return Page(page, folder)

    yield entered
    for each in contexts:
        each.close()


def run_ids(api: Api) -> set[str]:
    return {run.run_id for run in api.services.instance.get_runs()}


@pytest.mark.parametrize("width", [1280, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_1280_and_1600_pixels_in_light_and_dark(enter, scheme: str, width: int):
    operator = enter(Role.OPERATOR, scheme=scheme, width=width)
    operator.shot(f"attention-{scheme}-{width}")
    assert operator.is_as_wide_as_its_window()
    operator.click(operator.row(TITLE).get_by_role("link", name=TITLE))
    operator.shot(f"attention-entry-{scheme}-{width}")
    assert operator.is_as_wide_as_its_window()
    for rows in ("rejects", "captures"):
        operator.click(operator.page.get_by_role("link", name=rows, exact=True))
        operator.shot(f"attention-{rows}-{scheme}-{width}")
        assert operator.is_as_wide_as_its_window()
        operator.click(operator.page.get_by_role("link", name="Back to the entry"))


def test_why_takes_a_click_and_its_rejected_rows_another_with_a_way_back(enter):
    viewer = enter(Role.VIEWER)
    assert "at least 8 rows, found 2 rows" in viewer.row(TITLE).first.inner_text()
    viewer.click(viewer.row(TITLE).get_by_role("link", name="rejects"))
    assert viewer.page.get_by_text("expected a whole number of shares").count() == 50
    viewer.shot("attention-rejects")
    viewer.click(viewer.page.get_by_role("link", name="Back to the entry"))
    assert viewer.clicks == 2
    assert viewer.page.get_by_role("button", name="Retry").count() == 0


def test_a_quarantined_partition_is_retried_with_two_clicks(site, enter):
    api, _ = site
    before, operator = run_ids(api), enter(Role.OPERATOR)
    operator.open_attention()
    operator.click(operator.row(TITLE).get_by_role("button", name="Retry"))
    operator.page.get_by_role("status").wait_for()
    assert operator.clicks == 2
    [run_id] = run_ids(api) - before
    run = api.services.instance.get_run_by_id(run_id)
    assert run is not None
    assert run.tags["dagster/partition"] == PARTITION


def test_a_failed_run_is_retried_with_two_clicks(site, enter):
    api, _ = site
    operator = enter(Role.OPERATOR)
    with ThreadPoolExecutor() as threads:  # this one has the event loop of the browser
        failed = threads.submit(api.run, "operations_export", config=FAILING).result()
    with api.services.warehouse.writing() as connection:
        for table in (operations_runs, operations_steps):
            connection.execute(update(table).values(run_id=failed))
    operator.open_attention()
    row = operator.row(f"finra/otc_weekly {FAILED_PARTITION}")
    operator.click(row.get_by_role("button", name="Retry"))
    operator.page.get_by_role("status").wait_for()
    assert operator.clicks == 2
    assert failed in [run.parent_run_id for run in api.services.instance.get_runs()]


def test_all_of_a_kind_are_retried_with_one_click(site, enter):
    api, _ = site
    before, operator = run_ids(api), enter(Role.OPERATOR)
    retry = operator.page.get_by_role("button", name="Retry all: quarantined partitions")
    operator.click(retry)
    operator.page.get_by_role("status").wait_for()
    assert operator.clicks == 1
    assert len(run_ids(api) - before) >= 1


def test_a_batch_is_accepted_with_three_clicks(site, enter):
    api, _ = site
    before, operator = run_ids(api), enter(Role.OPERATOR)
    operator.open_attention()
    operator.click(operator.row(TITLE).get_by_role("link", name="Accept"))
    form = operator.page.locator("#accept")
    operator.press_to(form.get_by_label("Reason"))
    operator.page.keyboard.type("a short week")
    operator.click(form.get_by_role("button", name="Accept"))
    operator.page.get_by_role("status").wait_for()
    assert operator.clicks == 3
    configs = [
        api.services.instance.get_run_by_id(run_id).run_config["ops"]["replay_finra"]["config"]
        for run_id in run_ids(api) - before
    ]
    [config] = [config for config in configs if "accept_sha256" in config]
    assert config["accept_sha256"] == SHA256


def test_an_entry_is_ignored_by_the_keyboard_alone(site, enter):
    api, _ = site
    operator = enter(Role.OPERATOR)
    entry = operator.row("finra/otc_weekly failed")
    operator.press_to(entry.get_by_role("link", name="Ignore until"))
    operator.page.keyboard.press("Enter")
    operator.press_to(operator.page.locator("#ignore").get_by_label("Reason"))
    operator.page.keyboard.type("it is known")
    operator.page.keyboard.press("Enter")
    operator.page.get_by_role("status").wait_for()
    assert operator.clicks == 0
    [mark] = Marks(api.services.warehouse, Clock()).read().values()
    assert (mark.state, mark.reason) == ("ignored", "it is known")
    assert mark.until is not None
    assert mark.until > Clock().now() + HOUR


def test_filters_are_links_with_counts(enter):
    viewer = enter(Role.VIEWER)
    viewer.click(viewer.page.get_by_role("link", name="Failed items (2)", exact=True))
    rows = viewer.page.get_by_role("row")
    assert "prices_symbols" in rows.nth(1).inner_text()
    viewer.click(viewer.page.get_by_role("link", name="All kinds"))
    assert viewer.row(TITLE).count() == 1
