"""The ten tasks that operators do most, in a real browser, with the clicks that each takes.

Every task starts at the page that a login leads to. A press of the mouse is a click; so is one that
only puts the cursor into a field. Text that is typed, and Tab and Enter between fields, are none.
Screenshots go to OPERATOR_SCREENSHOTS, or to a temporary folder.
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

SETTINGS = {"DEMO_ROWS_PER_WEEK": "600", "INSTALLATION_NAME": "Market data"}
"""Nine weeks of it load in some seconds; the oldest of T2 is quarantined."""

SLOWLY = 240
"""Seconds for a run or backfill to come to its end on a busy machine."""

STARTING = 900
"""The same for the first load and the start of the UI."""

QUARANTINED = "T2|2025-12-01"
"""Partition whose firm rows do not add up to the symbol totals of the demo source."""

OFF_AT_FIRST = "prices_on_landing"
"""A sensor that is off at first; its ticks request nothing, as no price is loaded."""

TAB_PRESSES = 40
"""Maximum number of fields on the way to one."""


class Operator:
    """Somebody at a page of the UI, whose clicks are counted."""

    def __init__(self, page, folder):
        self.page, self.clicks, self._folder = page, 0, folder

    def on(self, locator):
        locator.first.click()
        self.clicks += 1

    def link(self, name):
        self.on(self.page.get_by_role("link", name=re.compile(rf"\b{name}$")))  # after its icon

    def tab(self, name):
        self.on(self.page.get_by_role("tab", name=re.compile(rf"^{name}")))

    def button(self, name):
        self.on(self.page.get_by_role("button", name=name))

    def href(self, end):
        self.on(self.page.locator(f"a[href$='{end}']"))

    def type_into(self, locator, text):
        """Type into a field that has the focus already, or that Tab leads to."""
        self.tab_to(locator)
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def tab_to(self, locator):
        """Press Tab until an element has the focus."""
        locator.first.wait_for()
        for _ in range(TAB_PRESSES):
            if locator.first.evaluate("each => each === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"not reached by Tab: {locator}")

    def filter(self, text):
        """Type into the editor that filters a list; its text area lies below other elements."""
        self.on(self.page.locator(".CodeMirror"))
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def search(self, text):
        """Open an asset that Dagster's own search found; the key / opens the search."""
        self.page.keyboard.press("/")
        self.page.keyboard.type(text)
        self.href(f"/assets/{text}")

    def reads(self, text):
        self.page.get_by_text(text).locator("visible=true").first.wait_for()

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

    def has_control_tower(self):
        """Return whether the run that the start of the UI asks for has ended."""
        query = """{assetNodes(assetKeys: [{path: ["operations", "control_tower"]}]) {
          assetMaterializations(limit: 1) {runId}}}"""
        [node] = programs.graphql(self.port, query, self.admin)["assetNodes"]
        return bool(node["assetMaterializations"])

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


def by_admin(site):
    return site.runs('tags: [{key: "user", value: "admin"}]')


def launched(site, before):
    """Return the runs by the admin that are new, once there are some."""
    known = {each["runId"] for each in before}

    def new():
        return [each for each in by_admin(site) if each["runId"] not in known]

    return programs.wait_for(new, seconds=SLOWLY)


def tags_of(run):
    return {each["key"]: each["value"] for each in run["tags"]}


def row_of(admin):
    """Return the quarantined week's row on the page of quarantined partitions."""
    return admin.page.get_by_role("row").filter(has_text=QUARANTINED)


def launch_in(admin, shot):
    """Launch what the dialog has chosen."""
    dialog = admin.page.get_by_role("dialog")
    button = dialog.get_by_role("button", name=re.compile("Launch (1 run|backfill)"))
    programs.wait_for(button.is_enabled)
    admin.shot(shot)
    admin.on(button)


def test_whether_the_loads_of_last_night_were_fine_takes_one_click(site, admin):
    programs.wait_for(site.has_control_tower, seconds=180)
    admin.link("Control tower")
    admin.reads(re.compile("(attention|failing|stale): .*finra"))
    admin.shot("control-tower")
    assert admin.clicks == 1


def test_why_a_week_is_quarantined_takes_one_click_and_its_partition_another(admin):
    admin.link("Quarantined")
    admin.reads("expected 0 symbols whose firm rows differ")
    admin.shot("quarantined")
    rejects = row_of(admin).get_by_role("link", name="rejects").get_attribute("href")
    assert admin.page.request.get(rejects).status == 200
    admin.on(row_of(admin).get_by_role("link", name="finra/otc_weekly"))
    admin.reads("did not materialize this asset")
    admin.shot("quarantined-partition")
    assert admin.clicks == 2


def test_what_to_do_about_a_quarantined_week_takes_two_clicks(admin):
    admin.link("Quarantined")
    admin.on(row_of(admin).get_by_role("link", name="reconciles_with_symbol_totals"))
    admin.reads("What to do: run the week again once FINRA has corrected it")
    admin.shot("check-of-a-quarantined-week")
    assert admin.clicks == 2


def test_listing_what_would_be_retried_takes_two_clicks(site, admin):
    """The launchpad opens with a dry run; to retry, one click more edits dry_run to false."""
    before = by_admin(site)
    admin.link("Retry failures")
    admin.reads("dry_run")
    admin.shot("retry-failures")
    admin.button("Launch Run")
    assert admin.clicks == 2
    [run] = launched(site, before)
    assert tags_of(run)["domain"] == "operations"
    assert tags_of(run)["launched_by"] == "ui"


def test_a_quarantined_week_is_loaded_again_with_four_clicks(site, admin):
    before = by_admin(site)
    admin.link("Quarantined")
    admin.on(row_of(admin).get_by_role("link", name="load again"))
    admin.button(re.compile("Materialize"))
    launch_in(admin, "load-again")
    assert admin.clicks == 4
    [run] = launched(site, before)
    tags = tags_of(run)
    assert tags["dagster/partition"] == QUARANTINED
    assert (tags["domain"], tags["launched_by"]) == ("finra", "ui")


def test_a_week_is_launched_from_its_job_with_four_clicks(site, admin):
    before = by_admin(site)
    admin.link("Jobs")
    admin.href("/jobs/finra_otc_weekly")
    admin.button(re.compile("Materialize"))
    choose_week(admin, "2026-01-19")
    launch_in(admin, "launch-from-job")
    assert admin.clicks == 4
    assert {tags_of(run)["domain"] for run in launched(site, before)} == {"finra"}


def test_a_week_is_launched_from_its_asset_with_four_clicks(site, admin):
    """Dagster adds a click: its step makes four other assets as well, which it confirms."""
    before = by_admin(site)
    admin.search("finra/otc_weekly")
    admin.button(re.compile("Materialize"))
    admin.button("Confirm")
    choose_week(admin, "2026-01-12")
    launch_in(admin, "launch-from-asset")
    assert admin.clicks == 4
    assert {tags_of(run)["domain"] for run in launched(site, before)} == {"finra"}


def choose_week(admin, week):
    """Choose a week of all tiers in the dialog of a launch, by keys alone."""
    dialog = admin.page.get_by_role("dialog")
    admin.tab_to(dialog.get_by_role("button", name="All", exact=True))
    admin.page.keyboard.press("Enter")
    admin.type_into(dialog.get_by_role("textbox"), week)
    admin.reads("3 partitions")


def test_four_partitions_are_backfilled_and_followed_with_six_clicks(site, admin):
    count = len(site.backfills())
    admin.link("Jobs")
    admin.href("/jobs/finra_tier_week")
    admin.button(re.compile("Materialize"))
    field = admin.page.get_by_role("dialog").get_by_role("textbox")
    admin.type_into(field, "[2025-12-29...2026-01-19]")
    admin.reads("4 partitions")
    launch_in(admin, "backfill")
    programs.wait_for(lambda: len(site.backfills()) > count, seconds=SLOWLY)
    assert site.backfills()[0]["numPartitions"] == 4
    admin.link("Runs")
    admin.tab("Backfills")
    admin.page.locator("a[href*='/runs/b/']").first.wait_for()
    admin.shot("backfill-followed")
    assert admin.clicks == 6


def test_a_failed_run_is_executed_again_with_four_clicks(site, admin):
    before = by_admin(site)
    admin.link("Runs")
    admin.tab("Failed")
    run = admin.page.locator("a[href^='/runs/']:not([href*='/b/'])")  # and no backfill
    admin.on(run.filter(has_text="View"))
    admin.button(re.compile("Re-execute"))
    admin.shot("re-execute")
    [run] = launched(site, before)
    assert "dagster/parent_run_id" in tags_of(run)
    assert admin.clicks == 4


def test_an_automation_is_switched_on_and_its_ticks_are_read(site, admin):
    admin.link("Automation")
    admin.filter(OFF_AT_FIRST)
    admin.href(f"/sensors/{OFF_AT_FIRST}")
    admin.reads("Frequency")
    switch = admin.page.locator("input[type=checkbox]").first
    assert not switch.is_checked()
    admin.on(admin.page.locator("label:has(input[type=checkbox])"))
    programs.wait_for(switch.is_checked)
    admin.reads(re.compile("0 runs requested|Skipped"))
    admin.shot("automation")
    assert admin.clicks == 4


def test_checks_of_an_asset_are_read_with_two_clicks(admin):
    admin.search("finra/otc_weekly")
    admin.tab("Checks")
    admin.reads("reconciles_with_symbol_totals")
    admin.shot("checks")
    assert admin.clicks == 2


def test_an_asset_is_found_by_group_and_kind_and_its_lineage_with_four_clicks(admin):
    admin.link("Catalog")
    admin.filter('group:"finra" and kind:"plot"')
    found = admin.page.locator("a[href*='/assets/finra/trade_activity']")
    found.first.wait_for()
    assert admin.page.locator("a[href*='/assets/prices/']").count() == 0
    admin.shot("found-by-group-and-kind")
    admin.on(found)
    admin.tab("Lineage")
    admin.reads("symbol_week")
    admin.shot("lineage")
    assert admin.clicks == 4


def test_a_jobs_page_counts_the_partitions_that_its_runs_over_ranges_loaded(admin):
    admin.link("Jobs")
    admin.href("/jobs/finra_otc_weekly")
    admin.tab("Partitions")
    boxes = admin.page.get_by_text(re.compile("^(Total|Missing) partitions$"))
    boxes.nth(1).wait_for()
    programs.wait_for(lambda: "\n0\n" not in f"\n{numbers(boxes)[0]}\n", seconds=60)
    total, missing = numbers(boxes)
    admin.shot("job-partitions")
    assert total - missing >= 26  # all but the quarantined one
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
