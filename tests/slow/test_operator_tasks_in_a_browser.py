"""The twenty tasks that operators do most, in a real browser, with the clicks that each takes.

Every task starts at the page that a login leads to. A press of the mouse is a click; so is one that
only puts the cursor into a field. Text that is typed, and Tab and Enter between fields, are none.
Screenshots go to OPERATOR_SCREENSHOTS, or to a temporary folder.
"""

import hmac
import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from orchestration_project.services.links import build_retry_url
from tests import programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed"),
]

SETTINGS = {
    "DEMO_ROWS_PER_WEEK": "600",
    "INSTALLATION_NAME": "Market data",
    "PRICES_UNIVERSE_SIZE": "3",
    "WEBHOOK_SECRET_GIT": "0123456789abcdef0123456789abcdef",
}
"""Nine weeks of it load in some seconds; the oldest of T2 is quarantined."""

WEBHOOKS = "sources: {git: {scheme: github, job: events_webhooks}}\n"

EDIT_RULES = ("-m", "orchestration_project.definitions", "-j", "saas_edit_rules")
RULES = """ops:
  edit_saas_rules:
    config:
      who: ada
      rules:
        - rule_id: hardware
          priority: 1
          conditions: [{field: title, operator: starts_with, value: Hardware}]
          action: sync
          target_project: IT
          issue_type: Task
          mappings: [{target_field: duedate, source_type: path, value: title}]
        - {rule_id: rest, priority: 2, action: sync, target_project: HR, issue_type: Task}
"""
"""The titles of tasks for hardware are not dates, so each becomes a dead letter."""

NINE_DAYS_LATER = "2026-03-11T15:00:00+00:00"
"""By then the demo source has restated a week of T1."""

SLOWLY = 240
"""Seconds for a run to come to its end, or a page to answer, on a busy machine."""

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
        self.page, self.clicks, self.folder = page, 0, folder

    def on(self, locator):
        locator.first.click()
        self.clicks += 1

    def link(self, name):
        self.on(self.page.get_by_role("link", name=re.compile(rf"\b{name}$")))  # after its icon

    def attention(self):
        """Open the page of what needs a person; its link ends with a count."""
        self.on(self.page.locator("#installation-bar a[href='/attention']"))

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

    def launch_filled(self, name):
        """Follow a link to a launchpad whose config is filled in, and launch it."""
        self.on(self.page.get_by_role("link", name=name, exact=True))
        self.button("Launch Run")

    def search(self, text):
        """Open an asset that Dagster's own search found; the key / opens the search."""
        self.page.keyboard.press("/")
        self.page.keyboard.type(text)
        self._found(f"/assets/{text}")

    def search_job(self, name):
        """Open a job in the same way."""
        self.page.keyboard.press("/")
        self.page.keyboard.type(name)
        self._found(f"/jobs/{name}")

    def _found(self, end):
        self.on(self.page.locator(f"[class*='SearchDialog'] a[href$='{end}']"))

    def reads(self, text):
        self.page.get_by_text(text).locator("visible=true").first.wait_for()

    def shot(self, name):
        self.page.screenshot(path=self.folder / f"{name}.png")


class Site:
    """The `ui` over nine loaded weeks of each tier, one of them quarantined; and keys to it."""

    def __init__(self, folder):
        self.state_dir, self._output = folder / "state", folder / "ui.log"
        (folder / "webhooks.yaml").write_text(WEBHOOKS)
        self._settings = {**SETTINGS, "WEBHOOKS_FILE": str(folder / "webhooks.yaml")}
        self._run("run", "--weeks", "9")
        self._settings["DEMO_CLOCK_NOW"] = NINE_DAYS_LATER
        self._run("run", "--weeks", "9")
        (folder / "rules.yaml").write_text(RULES)
        self._run_module("dagster", "job", "execute", *EDIT_RULES, "-c", str(folder / "rules.yaml"))
        self._run("run", "saas")
        self._run("automation", "on", "webhooks")
        self.port = programs.free_port()
        self.start()
        programs.wait_for(lambda: "op_" in self._output.read_text(), seconds=STARTING)
        self.admin = programs.key_in(self._output.read_text())
        self.viewer = programs.key_in(
            self._run("keys", "create", "--role", "viewer", "--owner", "the viewer")
        )

    def _run(self, *arguments):
        return self._run_module("orchestration_project", *arguments)

    def _run_module(self, *arguments):
        process = programs.start(self.state_dir, *arguments, **self._settings)
        output, _ = process.communicate(timeout=STARTING)
        return output

    def fail_a_run(self):
        """Load the quarantined week again, which fails and raises an alert."""
        tags = json.dumps({"dagster/partition": QUARANTINED})
        weekly = ("-m", "orchestration_project.definitions", "-j", "finra_otc_weekly")
        self._run_module("dagster", "job", "execute", *weekly, "--tags", tags)

    def apply_preset(self, name):
        """Apply a preset, so that the asset of definitions has an event of it."""
        file = self.state_dir.parent / "preset.yaml"
        applied = f"{{preset: {name}{APPLIED}}}"
        file.write_text(f"ops: {{edit_definitions: {{config: {{apply_preset: {applied}}}}}}}\n")
        job = ("-m", "orchestration_project.definitions", "-j", "operations_definitions_edit")
        self._run_module("dagster", "job", "execute", *job, "-c", str(file))

    def deliver(self, delivery, body):
        """Send a signed webhook."""
        key = SETTINGS["WEBHOOK_SECRET_GIT"].encode()
        headers = {
            "content-type": "application/json",
            "x-github-delivery": delivery,
            "x-hub-signature-256": f"sha256={hmac.digest(key, body, 'sha256').hex()}",
        }
        httpx.post(
            f"http://127.0.0.1:{self.port}/hooks/git", content=body, headers=headers
        ).raise_for_status()

    def start(self):
        command = ("orchestration_project", "ui", "--port", str(self.port))
        self.process = programs.start_into(self._output, self.state_dir, *command, **self._settings)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=programs.PATIENCE_SECONDS)

    def runs(self, chosen):
        fields = "runId jobName status runConfigYaml tags {key value}"
        query = f"{{runsOrError(filter: {{{chosen}}}) {{... on Runs {{results {{{fields}}}}}}}}}"
        return programs.graphql(self.port, query, self.admin)["runsOrError"]["results"]

    def has_control_tower(self):
        """Return whether the run that the start of the UI requests has ended."""
        query = """{assetNodes(assetKeys: [{path: ["operations", "control_tower"]}]) {
          assetMaterializations(limit: 1) {runId}}}"""
        [node] = programs.graphql(self.port, query, self.admin)["assetNodes"]
        return bool(node["assetMaterializations"])

    def open_alerts(self):
        """Return how many alerts the asset of them shows; a sensor updates it each minute."""
        query = """{assetNodes(assetKeys: [{path: ["operations", "alerts"]}]) {
          assetMaterializations(limit: 1) {metadataEntries {
            label ... on IntMetadataEntry {intValue}}}}}"""
        [node] = programs.graphql(self.port, query, self.admin)["assetNodes"]
        entries = [
            metadata_entry
            for event in node["assetMaterializations"]
            for metadata_entry in event["metadataEntries"]
        ]
        return next((entry["intValue"] for entry in entries if entry["label"] == "open"), 0)

    def backfills(self):
        query = """{partitionBackfillsOrError {... on PartitionBackfills {
          results {status numPartitions}}}}"""
        found = programs.graphql(self.port, query, self.admin)
        return found["partitionBackfillsOrError"]["results"]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.stop()


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
        page.set_default_timeout(SLOWLY * 1000)
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


def launched(site, before, job=""):
    """Return the runs by the admin that are new, of one job or all, once there are some."""
    known = {run["runId"] for run in before}

    def new():
        runs = [run for run in by_admin(site) if run["runId"] not in known]
        return [run for run in runs if job in ("", run["jobName"])]

    return programs.wait_for(new, seconds=SLOWLY)


def tags_of(run):
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def row_of(admin):
    """Return the quarantined week's row on the page of what needs a person."""
    text = re.compile(rf"Quarantined partition.*{re.escape(QUARANTINED)}", re.DOTALL)
    return admin.page.get_by_role("row").filter(has_text=text)


def launch_in(admin, shot):
    """Launch what the dialog has chosen."""
    dialog = admin.page.get_by_role("dialog")
    button = dialog.get_by_role("button", name=re.compile("Launch (1 run|backfill)"))
    programs.wait_for(button.is_enabled)
    admin.shot(shot)
    admin.on(button)


def test_whether_the_loads_of_last_night_were_fine_takes_one_click(site, admin):
    programs.wait_for(site.has_control_tower, seconds=SLOWLY)
    admin.link("Control tower")
    admin.reads(re.compile("(attention|failing|stale): .*finra"))
    admin.shot("control-tower")
    assert admin.clicks == 1


def test_why_a_week_is_quarantined_takes_one_click_and_its_partition_another(admin):
    admin.attention()
    admin.reads("expected 0 symbols whose firm rows differ")
    admin.shot("quarantined")
    rejects = row_of(admin).get_by_role("link", name="rejects").get_attribute("href")
    assert admin.page.request.get(rejects).status == 200
    admin.on(row_of(admin).get_by_role("link", name="partition", exact=True))
    admin.reads("did not materialize this asset")
    admin.shot("quarantined-partition")
    assert admin.clicks == 2


def test_what_to_do_about_a_quarantined_week_takes_two_clicks(admin):
    admin.attention()
    admin.on(row_of(admin).get_by_role("link", name="reconciles_with_symbol_totals"))
    admin.reads("What to do: run the week again once FINRA has corrected it")
    admin.shot("check-of-a-quarantined-week")
    assert admin.clicks == 2


def test_all_quarantined_partitions_are_retried_with_two_clicks(site, admin):
    before = by_admin(site)
    admin.attention()
    admin.button(re.compile("Retry all: quarantined partitions"))
    admin.page.get_by_role("status").wait_for()
    admin.shot("retry-all")
    assert admin.clicks == 2
    [run] = launched(site, before)
    assert tags_of(run)["domain"] == "operations"
    assert "dry_run: false" in run["runConfigYaml"]


def test_the_oldest_missing_week_is_launched_by_the_mouse_alone_with_four_clicks(site, admin):
    before = by_admin(site)
    admin.link("Control tower")
    link = admin.page.locator("a[href*='/jobs/finra_otc_weekly/partitions']").first
    [partition] = parse_qs(urlsplit(link.get_attribute("href")).query)["partition"]
    admin.on(link)
    admin.page.wait_for_url("**/jobs/finra_otc_weekly/partitions**")
    admin.button(re.compile("Materialize"))
    launch_in(admin, "launch-from-the-control-tower")
    assert admin.clicks == 4
    [run] = launched(site, before)
    assert tags_of(run)["dagster/partition"] == partition


def test_a_quarantined_week_is_loaded_again_with_two_clicks(site, admin):
    before = by_admin(site)
    admin.attention()
    admin.on(row_of(admin).get_by_role("button", name="Retry"))
    admin.page.get_by_role("status").wait_for()
    assert admin.clicks == 2
    [run] = launched(site, before)
    tags = tags_of(run)
    assert (tags["dagster/partition"], tags["domain"]) == (QUARANTINED, "finra")


def test_a_week_is_launched_from_its_job_with_four_clicks_and_no_date_typed(site, admin):
    before = by_admin(site)
    admin.search_job("finra_otc_weekly")
    admin.button(re.compile("Materialize"))
    choose_all_tiers(admin)
    choose_by_mouse(admin, "2026-01-19", "2026-01-19")
    admin.reads("3 partitions")
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
    choose_all_tiers(admin)
    admin.type_into(admin.page.get_by_role("dialog").get_by_role("textbox"), week)
    admin.reads("3 partitions")


def choose_all_tiers(admin):
    """Choose all tiers by keys, once the dialog has them: `All` chooses none before that."""
    dialog = admin.page.get_by_role("dialog")
    admin.tab_to(dialog.get_by_role("button", name="All", exact=True))

    def chosen():
        admin.page.keyboard.press("Enter")
        return dialog.get_by_text("OTCE", exact=True).count()

    programs.wait_for(chosen, seconds=SLOWLY)


def choose_by_mouse(admin, first, last, following=lambda day: day + timedelta(days=7)):
    """Choose partitions on the bar of a dialog: press the first, and release at the last."""
    dialog = admin.page.get_by_role("dialog")
    ends = dialog.locator("[class*='PartitionStatusBar_footer']").first.inner_text()
    start, end = map(date.fromisoformat, re.findall(r"\d{4}-\d\d-\d\d", ends))
    days = [start]
    while days[-1] < end:
        days.append(following(days[-1]))
    bar = dialog.locator("[class*='PartitionStatusBar_partitionSpansContainer']").first
    size = bar.bounding_box()
    for day, press in ((first, admin.page.mouse.down), (last, admin.page.mouse.up)):
        number = days.index(date.fromisoformat(day))
        x = (number + 0.5) * size["width"] / len(days)
        bar.hover(position={"x": x, "y": size["height"] / 2})
        press()
    admin.clicks += 1


def test_four_partitions_are_backfilled_with_four_clicks_and_followed_with_two_more(site, admin):
    count = len(site.backfills())
    admin.search_job("finra_tier_week")
    admin.button(re.compile("Materialize"))
    choose_by_mouse(admin, "2025-12-29", "2026-01-19")
    admin.reads("4 partitions")
    launch_in(admin, "backfill")
    assert admin.clicks == 4
    programs.wait_for(lambda: len(site.backfills()) > count, seconds=SLOWLY)
    assert site.backfills()[0]["numPartitions"] == 4
    admin.link("Runs")
    admin.tab("Backfills")
    admin.page.locator("a[href*='/runs/b/']").first.wait_for()
    admin.shot("backfill-followed")
    assert admin.clicks == 6


def test_missing_partitions_are_chosen_for_a_backfill_with_three_clicks(admin):
    admin.search_job("finra_tier_week")
    admin.button(re.compile("Materialize"))
    dialog = admin.page.get_by_role("dialog")
    admin.on(dialog.get_by_role("button", name="Missing", exact=True))
    field = dialog.get_by_role("textbox")
    programs.wait_for(lambda: field.input_value().endswith("2026-02-16]"), seconds=SLOWLY)
    assert field.input_value().startswith("[2025-03-03...")
    admin.shot("missing-chosen")
    assert admin.clicks == 3


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


def test_an_asset_is_found_by_domain_and_kind_and_its_lineage_with_four_clicks(admin):
    admin.link("Catalog")
    admin.filter('tag:"domain"="finra" and kind:"plot"')
    found = admin.page.locator("a[href*='/assets/finra/trade_activity']")
    found.first.wait_for()
    assert admin.page.locator("a[href*='/assets/prices/']").count() == 0
    admin.shot("found-by-domain-and-kind")
    admin.on(found)
    admin.tab("Lineage")
    admin.reads("symbol_week")
    admin.shot("lineage")
    assert admin.clicks == 4


def test_a_restatement_is_seen_with_four_clicks(admin):
    admin.search("finra/otc_weekly")
    admin.tab("Partitions")
    admin.on(admin.page.get_by_text("T1", exact=True))
    admin.on(admin.page.get_by_text("2026-01-12", exact=True))
    admin.reads(re.compile("week 2026-01-12, was restated: 3 of"))
    admin.shot("restatement")
    assert admin.clicks == 4


def test_a_picture_is_read_with_two_clicks(admin):
    admin.search("finra/trade_activity")
    admin.on(admin.page.get_by_text("[Show Markdown]"))
    picture = admin.page.get_by_role("dialog").locator("img").first
    picture.wait_for()
    admin.shot("picture")
    assert picture.evaluate("each => each.naturalWidth") > 500
    assert admin.clicks == 2


def test_a_preset_is_previewed_applied_and_undone_with_three_clicks_each(site, admin):
    for link in ("Preview preset full", "Apply preset full", "Apply preset standard"):
        before = by_admin(site)
        admin.search_job("operations_definitions_edit")
        admin.launch_filled(link)
        [run] = launched(site, before, "operations_definitions_edit")
        expect_success(site, run)
    assert admin.clicks == 9
    admin.page.goto("/assets/operations/definitions?view=events")
    admin.reads(re.compile("applied as standard#2 by admin: applied from the page of the job"))
    admin.shot("preset-undone")


APPLIED = ", why: a trial, dry_run: false"


def expect_success(site, run):
    """Wait for the success of a run."""
    query = f"""{{runOrError(runId: "{run["runId"]}") {{... on Run {{status}}}}}}"""

    def status():
        return programs.graphql(site.port, query, site.admin)["runOrError"]["status"]

    ended = ("SUCCESS", "FAILURE", "CANCELED")
    assert programs.wait_for(lambda: status() in ended and status(), seconds=SLOWLY) == "SUCCESS"


def test_a_month_of_prices_is_launched_with_four_clicks_and_no_date_typed(site, admin):
    before = by_admin(site)
    admin.search_job("prices_daily")
    admin.button(re.compile("Materialize"))
    choose_by_mouse(
        admin,
        "2026-02-01",
        "2026-02-01",
        following=lambda day: (day + timedelta(days=31)).replace(day=1),
    )
    admin.reads("1 partition")
    launch_in(admin, "month-of-prices")
    assert admin.clicks == 4
    [run] = launched(site, before)
    assert tags_of(run)["dagster/partition"] == "2026-02-01"
    expect_success(site, run)


def test_the_sync_and_a_dead_letter_are_looked_at_with_two_clicks_each(admin):
    admin.search("saas/outbox")
    admin.tab("Events")
    admin.reads("intentions")
    admin.shot("sync")
    assert admin.clicks == 2
    admin.search("saas/dead_letters")
    admin.tab("Events")
    admin.reads(re.compile("duedate"))
    admin.shot("dead-letter")
    assert admin.clicks == 4


def test_a_webhook_is_followed_to_its_row_with_three_clicks(site, admin):
    site.deliver("a-delivery", b'{"action": "opened"}')
    programs.wait_for(lambda: runs_of(site, "events_webhooks"), seconds=SLOWLY)
    expect_success(site, runs_of(site, "events_webhooks")[0])
    admin.search("events/webhooks")
    admin.tab("Events")
    admin.reads("a-delivery")
    admin.shot("webhook")
    with admin.page.expect_popup() as popup:
        admin.on(admin.page.locator("a[href*='/tables/events_webhooks']"))
    popup.value.get_by_text("opened").first.wait_for()
    popup.value.screenshot(path=admin.folder / "row-of-a-webhook.png")
    assert admin.clicks == 3


def runs_of(site, job):
    return site.runs(f'pipelineName: "{job}"')


def test_pruning_is_a_dry_run_with_three_clicks_and_its_result_is_read_with_two_more(site, admin):
    before = by_admin(site)
    admin.search_job("operations_clean_up")
    admin.launch_filled("Measure the logs of old runs (dry run)")
    [run] = launched(site, before, "operations_clean_up")
    expect_success(site, run)
    assert admin.clicks == 3
    admin.search("operations/runs")
    admin.tab("Events")
    admin.reads("dry_run")
    admin.reads("compute logs")
    admin.shot("prune")
    assert admin.clicks == 5


def test_evidence_is_exported_with_three_clicks_and_found_with_two_more(site, admin):
    before = by_admin(site)
    admin.attention()
    link = row_of(admin).get_by_role("link", name="evidence")
    admin.on(link)
    admin.button("Launch Run")
    [run] = launched(site, before, "operations_export")
    expect_success(site, run)
    assert admin.clicks == 3
    admin.search("operations/evidence")
    admin.tab("Events")
    file = admin.page.locator("a[href*='/api/v1/evidence/']").first
    file.wait_for()
    admin.shot("evidence")
    answer = admin.page.request.get(file.get_attribute("href"))
    assert (answer.status, answer.body()[:2]) == (200, b"PK")
    assert admin.clicks == 5


def test_a_jobs_page_counts_the_partitions_that_its_runs_over_ranges_loaded(admin):
    admin.search_job("finra_otc_weekly")
    admin.tab("Partitions")
    boxes = admin.page.get_by_text(re.compile("^(Total|Missing) partitions$"))
    boxes.nth(1).wait_for()
    programs.wait_for(lambda: "\n0\n" not in f"\n{numbers(boxes)[0]}\n", seconds=SLOWLY)
    total, missing = numbers(boxes)
    admin.shot("job-partitions")
    assert total - missing >= 26  # all but the quarantined one
    assert missing > 0


def numbers(boxes):
    found = [boxes.nth(place).locator("xpath=..").inner_text() for place in (0, 1)]
    return [int(re.findall(r"\d+", text)[0]) for text in found]


@pytest.mark.parametrize("width", [1280, 700, 400])
def test_a_viewer_reads_who_it_is_and_may_launch_nothing(site, enter, width):
    viewer = enter(site.viewer, width=width)
    page = viewer.page
    bar = page.locator("#installation-bar")
    assert "the viewer (viewer)" in bar.inner_text()
    box, first = bar.bounding_box(), page.locator("#root").bounding_box()
    assert box["y"] + box["height"] <= first["y"]
    assert first["y"] + first["height"] <= 900
    if width > 640:  # narrower pages have no shortcuts
        shortcuts = bar.locator("nav").bounding_box()
        last = bar.get_by_role("link", name="Plugins").bounding_box()
        assert last["x"] + last["width"] <= shortcuts["x"] + shortcuts["width"]
    page.goto("/locations/orchestration_project.definitions/jobs/operations_checks")
    button = page.get_by_role("button", name=re.compile("Materialize")).first
    button.wait_for()
    assert button.is_disabled()
    viewer.shot(f"viewer-{width}")
    bar.get_by_role("button", name="Log out").click()
    page.wait_for_url("**/login")
    assert "demo data" in page.inner_text("main")
    viewer.shot(f"login-{width}")


def test_open_alerts_are_read_with_two_clicks(site, admin):
    site.fail_a_run()
    programs.wait_for(lambda: site.open_alerts(), seconds=SLOWLY)
    admin.search("operations/alerts")
    admin.tab("Events")
    admin.reads("orchestrate alerts close")
    admin.shot("alerts")
    assert admin.clicks == 2


def test_a_viewer_reads_the_pages_of_the_tasks_and_may_launch_from_none(site, enter):
    site.apply_preset("standard")
    viewer = enter(site.viewer)
    for number, (path, text) in enumerate(VIEWED.items()):
        viewer.page.goto(path)
        viewer.reads(text)
        button = viewer.page.get_by_role("button", name=re.compile("Materialize")).first
        button.wait_for()
        assert button.is_disabled()
        viewer.shot(f"viewed-{number}")
    viewer.attention()
    viewer.reads("expected 0 symbols whose firm rows differ")
    assert row_of(viewer).get_by_role("button").count() == 0
    viewer.page.goto(build_retry_url(dry_run=False))  # leads on to the job's page
    viewer.reads("Retries failed partitions")
    assert viewer.page.get_by_role("button", name="Launch Run").count() == 0


VIEWED = {
    "/assets/operations/control_tower?view=events": "verdict",
    "/assets/finra/otc_weekly?view=partitions": re.compile("Materialized \\("),
    "/assets/finra/otc_weekly?view=checks": "reconciles_with_symbol_totals",
    "/assets/finra/trade_activity": "picture",
    "/assets/saas/dead_letters?view=events": "refused",
    "/assets/operations/definitions?view=events": "standard",
}


def test_after_a_stop_and_a_start_the_session_goes_on(site, admin):
    """The last of these: it stops what the others look at."""
    failed = {run["runId"] for run in site.runs("statuses: [FAILURE]")}
    site.stop()
    site.start()
    programs.wait_for(lambda: answers(site), seconds=STARTING)
    admin.link("Runs")
    admin.tab("Failed")
    admin.page.locator("a[href^='/runs/']").first.wait_for()
    admin.shot("after-a-start")
    assert admin.clicks == 2
    assert failed <= {run["runId"] for run in site.runs("statuses: [FAILURE]")}


def answers(site):
    """Return whether the UI has its code location."""
    query = "{repositoriesOrError {... on RepositoryConnection {nodes {name}}}}"
    try:
        found = programs.graphql(site.port, query, site.admin)
    except OSError:
        return False
    return bool(found["repositoriesOrError"].get("nodes"))
