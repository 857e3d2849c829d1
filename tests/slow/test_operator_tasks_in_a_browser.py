"""The ten tasks that operators do most, in a real browser, with the clicks that each takes.

Every task starts at the page that a login leads to. Screenshots go to OPERATOR_SCREENSHOTS, or to
a temporary folder.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium"),
]

SETTINGS = {"DEMO_ROWS_PER_WEEK": "600"}
"""Nine weeks of it load in some seconds; the oldest of T2 is quarantined."""

SLOWLY = 240
"""Seconds for a run or backfill to come to its end on a busy machine."""

STARTING = 900
"""The same for the first load and the start of the UI."""

STARTED_ALREADY = "operations_on_run_end"
"""A sensor that runs from the first start on, so it has ticks to read."""


class Operator:
    """Somebody at a page of the UI, whose clicks are counted."""

    def __init__(self, page, folder):
        self.page, self.clicks, self._folder = page, 0, folder

    def on(self, locator):
        locator.first.click()
        self.clicks += 1

    def link(self, name):
        self.on(self.page.get_by_role("link", name=re.compile(rf"\b{name}$")))  # after its icon

    def button(self, name):
        self.on(self.page.get_by_role("button", name=name))

    def href(self, end):
        self.on(self.page.locator(f"a[href$='{end}']"))

    def option(self, name):
        self.on(self.page.get_by_role("menuitem", name=name))

    def reads(self, text):
        self.page.get_by_text(text).first.wait_for()

    def shot(self, name):
        self.page.screenshot(path=self._folder / f"{name}.png")


class Site:
    """The `ui` over nine loaded weeks of each tier, one of them quarantined; and keys to it."""

    def __init__(self, folder):
        self.state_dir, output = folder / "state", folder / "ui.log"
        self._run("run", "--weeks", "9")
        self.port = programs.free_port()
        command = ("orchestration_project", "ui", "--port", str(self.port))
        self.process = programs.start_into(output, self.state_dir, *command, **SETTINGS)
        programs.wait_for(lambda: "op_" in output.read_text(), seconds=STARTING)
        self.admin = programs.key_in(output.read_text())
        self.viewer = programs.key_in(
            self._run("keys", "create", "--role", "viewer", "--owner", "the viewer")
        )

    def _run(self, *arguments):
        process = programs.start(self.state_dir, "orchestration_project", *arguments, **SETTINGS)
        return process.communicate(timeout=STARTING)[0]

    def runs(self, chosen):
        fields = "runId status tags {key value}"
        query = f"{{runsOrError(filter: {{{chosen}}}) {{... on Runs {{results {{{fields}}}}}}}}}"
        return programs.graphql(self.port, query, self.admin)["runsOrError"]["results"]

    def backfills(self):
        query = """{partitionBackfillsOrError {... on PartitionBackfills {
          results {status numPartitions}}}}"""
        found = programs.graphql(self.port, query, self.admin)
        return found["partitionBackfillsOrError"]["results"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.process.terminate()
    site.process.wait(timeout=programs.PATIENCE_SECONDS)


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
    """Return a function that logs in, and gives the operator at the first page."""
    contexts = []
    folder = Path(os.environ.get("OPERATOR_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)

    def entered(key, *, width=1280):
        context = browser.new_context(
            base_url=f"http://127.0.0.1:{site.port}", viewport={"width": width, "height": 900}
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto("/login")
        page.get_by_label("Key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("link", name=re.compile("Overview$")).first.wait_for()
        return Operator(page, folder)

    yield entered
    for each in contexts:
        each.close()


@pytest.fixture
def admin(site, enter):
    return enter(site.admin)


def launched(site, before):
    """Return the runs by the admin that are new, once there are some."""
    chosen = 'tags: [{key: "user", value: "admin"}]'
    known = {each["runId"] for each in before}

    def new():
        return [each for each in site.runs(chosen) if each["runId"] not in known]

    programs.wait_for(new, seconds=SLOWLY)
    return new()


def by_admin(site):
    return site.runs('tags: [{key: "user", value: "admin"}]')


def tags_of(run):
    return {each["key"]: each["value"] for each in run["tags"]}


def choose_partition(admin, *, week):
    """Choose a tier and a week in the dialog of a launch."""
    dialog = admin.page.get_by_role("dialog")
    admin.on(dialog.get_by_role("button", name="All", exact=True))
    dialog.get_by_role("textbox").first.fill(week)  # typed, so no click
    dialog.get_by_role("textbox").first.press("Enter")


def test_whether_the_loads_of_last_night_were_fine_takes_one_click(admin):
    admin.link("Control tower")
    admin.reads("control_tower")
    admin.page.get_by_role("button", name=re.compile("Materialize")).first.wait_for()
    admin.shot("control-tower")
    assert admin.clicks == 1


def test_why_a_week_is_quarantined_takes_one_click_and_its_partition_another(admin):
    admin.link("Quarantined")
    admin.reads("reconciles_with_symbol_totals")
    admin.shot("quarantined")
    rejects = admin.page.get_by_role("link", name="rejects").first.get_attribute("href")
    assert admin.page.request.get(rejects).status == 200
    admin.on(admin.page.get_by_role("link", name=re.compile(r"finra/otc_weekly T2\|")))
    admin.reads("did not materialize this asset")
    admin.shot("quarantined-partition")
    assert admin.clicks == 2


def test_retrying_failures_takes_two_clicks(site, admin):
    before = by_admin(site)
    admin.link("Retry failures")
    admin.reads("retry_failures")
    admin.shot("retry-failures")
    admin.button("Launch Run")
    assert admin.clicks == 2
    [run] = launched(site, before)
    assert tags_of(run)["domain"] == "operations"
    assert tags_of(run)["launched_by"] == "ui"


def test_a_week_is_launched_from_its_job(site, admin):
    before = by_admin(site)
    admin.link("Jobs")
    admin.href("/jobs/finra_otc_weekly")
    admin.button(re.compile("Materialize"))
    choose_partition(admin, week="2026-01-19")
    admin.shot("launch-from-job")
    admin.button(re.compile(r"Launch (run|backfill|\d)"))
    assert admin.clicks == 5
    assert {tags_of(run)["domain"] for run in launched(site, before)} == {"finra"}


def test_a_week_is_launched_from_the_page_of_its_partition(site, admin):
    before = by_admin(site)
    admin.link("Quarantined")
    admin.on(admin.page.get_by_role("link", name=re.compile(r"finra/otc_weekly T2\|")))
    admin.reads("did not materialize this asset")
    admin.button(re.compile("Materialize"))
    admin.button("Confirm")  # the assets that its step makes as well
    admin.shot("launch-from-asset")
    admin.on(
        admin.page.get_by_role("dialog").get_by_role(
            "button", name=re.compile(r"Launch (run|backfill|\d)")
        )
    )
    assert admin.clicks == 5
    tags = [tags_of(run) for run in launched(site, before)]
    assert {(each["domain"], each["launched_by"]) for each in tags} == {("finra", "ui")}


def test_four_partitions_are_backfilled_and_followed(site, admin):
    count = len(site.backfills())
    admin.link("Jobs")
    admin.href("/jobs/finra_tier_week")
    admin.button(re.compile("Materialize"))
    dialog = admin.page.get_by_role("dialog")
    dialog.get_by_role("textbox").first.fill("[2025-12-29...2026-01-19]")
    dialog.get_by_role("textbox").first.press("Enter")
    admin.reads("4 partitions")
    admin.shot("backfill")
    admin.on(dialog.get_by_role("button", name=re.compile(r"Launch (run|backfill|\d)")))
    assert admin.clicks == 4
    programs.wait_for(lambda: len(site.backfills()) > count, seconds=SLOWLY)
    assert site.backfills()[0]["numPartitions"] == 4
    admin.link("Runs")
    admin.link("Backfills")
    assert admin.clicks == 6
    admin.page.locator("a[href*='/runs/b/']").first.wait_for()
    admin.shot("backfill-followed")


def test_a_failed_run_is_executed_again(site, admin):
    before = by_admin(site)
    admin.link("Runs")
    admin.link("Failed")
    admin.on(admin.page.locator("a[href*='/runs/']:has-text('View')"))
    admin.button(re.compile("Re-execute"))
    admin.shot("re-execute")
    [run] = launched(site, before)[:1]
    assert "dagster/parent_run_id" in tags_of(run)
    assert admin.clicks == 4


def test_an_automation_is_switched_on_and_its_ticks_are_read(admin):
    admin.link("Automation")
    row = admin.page.get_by_role("link", name=STARTED_ALREADY)
    admin.page.get_by_role("textbox").first.fill(STARTED_ALREADY)
    row.first.wait_for()
    switches = admin.page.locator("label:has(input[type=checkbox][role=switch]), [role=switch]")
    switches.first.wait_for()
    admin.on(row)
    admin.reads(re.compile("Tick"))
    admin.shot("automation")
    assert admin.clicks == 2


def test_checks_of_an_asset_are_read(admin):
    admin.link("Catalog")
    admin.page.goto("/assets/finra/otc_weekly?view=checks")
    admin.reads("reconciles_with_symbol_totals")
    admin.shot("checks")


def test_an_asset_is_found_by_its_group_and_by_its_kind(admin):
    admin.page.goto("/assets?asset-selection=group%3A%22finra%22%20and%20kind%3A%22plot%22")
    admin.page.locator("a[href*='/assets/finra/trade_activity']").first.wait_for()
    assert admin.page.locator("a[href*='/assets/prices/']").count() == 0
    admin.shot("found-by-group-and-kind")


def test_a_jobs_page_counts_the_partitions_that_its_runs_over_ranges_loaded(admin):
    admin.link("Jobs")
    admin.href("/jobs/finra_otc_weekly")
    admin.link("Partitions")
    boxes = admin.page.get_by_text(re.compile("^(Total|Missing) partitions$"))
    boxes.nth(1).wait_for()
    programs.wait_for(lambda: "\n0\n" not in f"\n{numbers(boxes)[0]}\n", seconds=60)
    total, missing = numbers(boxes)
    admin.shot("job-partitions")
    assert total - missing >= 26  # all but the quarantined one; it is one of them once it was tried
    assert missing > 0


def numbers(boxes):
    found = [boxes.nth(place).locator("xpath=..").inner_text() for place in (0, 1)]
    return [int(re.findall(r"\d+", each)[0]) for each in found]


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_a_viewer_reads_who_it_is_and_may_launch_nothing(site, enter, width):
    viewer = enter(site.viewer, width=width)
    page = viewer.page
    bar = page.locator("#installation-bar")
    assert "the viewer (viewer)" in bar.inner_text()
    box, first = bar.bounding_box(), page.locator("#root").bounding_box()
    assert box["y"] + box["height"] <= first["y"]
    assert first["y"] + first["height"] <= 900
    page.goto("/locations/orchestration_project.definitions/jobs/operations_control_tower")
    button = page.get_by_role("button", name=re.compile("Materialize")).first
    button.wait_for()
    assert button.is_disabled()
    viewer.shot(f"viewer-{width}")
    bar.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    assert "demo data" in page.inner_text("main")
    viewer.shot(f"login-{width}")
