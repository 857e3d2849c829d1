"""The login and Dagster's pages behind it, in a real browser: as an admin, and as a viewer."""

import re
import shutil
from collections.abc import Iterator

import pytest

from orchestration_project.settings.chosen import known_domains
from tests import programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed"),
]

JOB = "/locations/orchestration_project.definitions/jobs/operations_checks"
LAUNCH = "button:has-text('Materialize')"

SLOWLY = 240
"""Seconds for a run to come to its end, or a page to answer, on a busy machine."""


class Site:
    """The `ui`, and the keys to it."""

    def __init__(self, folder):
        self.state_dir = folder / "state"
        self.port = programs.free_port()
        output = folder / "ui.log"
        command = ("orchestration_project", "ui", "--port", str(self.port))
        self.process = programs.start_into(output, self.state_dir, *command)
        programs.wait_for(lambda: "op_" in output.read_text(), seconds=SLOWLY)
        self.admin = programs.key_in(output.read_text())
        self.viewer = self.key_of("viewer")

    def key_of(self, role):
        command = ("keys", "create", "--role", role, "--owner", f"the {role}")
        output = programs.run_without_failure(self.state_dir, "orchestration_project", *command)
        return programs.key_in(output)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"))
    yield site
    site.process.terminate()
    site.process.wait(timeout=programs.PATIENCE_SECONDS)


@pytest.fixture
def page(site):
    """A page of a browser of its own; what is refused in it, and its websockets, are noted."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        context = chromium.new_context(
            base_url=f"http://127.0.0.1:{site.port}", viewport={"width": 1280, "height": 800}
        )
        page = context.new_page()
        page.set_default_timeout(SLOWLY * 1000)
        yield page
        chromium.close()


def log_in(page, key, path=JOB):
    page.goto(path)
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"**{path}")


BY_ADMIN = """{runsOrError(filter: {tags: [{key: "user", value: "admin"}]}) {
  ... on Runs {results {status}}}}"""


def states(site):
    """Return the states of the runs that the admin launched; a schedule launches some as well."""
    found = programs.graphql(site.port, BY_ADMIN, site.admin)["runsOrError"]["results"]
    return [run["status"] for run in found]


def test_an_admin_logs_in_launches_watches_launches_again_and_logs_out(site, page, tmp_path):
    refused, frames = [], []
    page.on("response", lambda each: refused.append(each.url) if each.status >= 400 else None)
    page.on(
        "websocket",
        lambda socket: socket.on("framereceived", lambda frame: frames.append(str(frame))),
    )
    log_in(page, site.admin)
    page.locator(LAUNCH).first.click()
    confirm = page.get_by_role("button", name="Confirm")
    programs.wait_for(lambda: confirm.is_visible() or states(site))
    if confirm.is_visible():  # the run at the start has not materialized yet what this one reads
        confirm.click()
    programs.wait_for(lambda: len(states(site)) == 1)
    page.goto("/runs")
    page.locator("a[href*='/runs/']").first.click()
    page.wait_for_url("**/runs/*-*")
    page.get_by_text("Success", exact=True).first.wait_for()
    page.screenshot(path=tmp_path / "run.png")
    assert any("RunStartEvent" in frame for frame in frames)
    assert any("RunSuccessEvent" in frame for frame in frames)
    page.get_by_role("button", name=re.compile("Re-execute")).first.click()
    programs.wait_for(lambda: states(site) == ["SUCCESS"] * 2, seconds=SLOWLY)
    assert refused == []

    page.goto("/session")
    page.screenshot(path=tmp_path / "session.png")
    page.get_by_role("button", name="Log out", exact=True).click()
    page.wait_for_url("**/login")
    page.goto("/runs")
    page.wait_for_url("**/login?next=%2Fruns")


def test_a_viewer_sees_all_and_can_launch_nothing(site, page, tmp_path):
    before = states(site)
    log_in(page, site.viewer)
    button = page.locator(LAUNCH).first
    button.wait_for()
    assert button.is_disabled()
    page.screenshot(path=tmp_path / "viewer.png")
    status = page.evaluate(
        """async () => (await fetch("/graphql", {method: "POST",
        headers: {"Content-Type": "application/json"},
        body: JSON.stringify({query: "mutation {reloadWorkspace {__typename}}"})})).status"""
    )
    assert status == 403
    assert states(site) == before


def test_the_login_works_without_javascript_and_says_what_is_wrong(site, page, tmp_path):
    context = page.context.browser.new_context(
        base_url=f"http://127.0.0.1:{site.port}",
        java_script_enabled=False,
        viewport={"width": 400, "height": 700},
    )
    plain = context.new_page()
    plain.goto("/login?next=/runs")
    assert plain.locator(":focus").get_attribute("id") == "key"
    plain.get_by_label("Key").fill("op_wrong")
    plain.keyboard.press("Enter")
    assert "does not open anything" in plain.get_by_role("alert").inner_text()
    field = plain.get_by_label("Key")
    assert field.get_attribute("aria-describedby").split()[0] == "problem"
    assert field.input_value() == ""
    box = plain.locator("main").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 400
    plain.screenshot(path=tmp_path / "wrong.png")
    plain.get_by_label("Key").fill(site.viewer)
    plain.keyboard.press("Enter")
    plain.wait_for_url("**/runs")
    plain.goto("/session")
    assert "the viewer, with the role viewer" in plain.inner_text("main")


def test_a_running_ui_shows_added_domains_with_whole_names_at_1440_pixels(site, page):
    """The catalog cuts a long name in its middle, and holds it whole beside."""
    programs.run_without_failure(
        site.state_dir, "orchestration_project", "domains", "add", *known_domains()
    )
    page.set_viewport_size({"width": 1440, "height": 9_000})  # rows out of sight are not drawn
    log_in(page, site.admin, "/assets")
    for asset in ("cboe/off_exchange_share_weekly", "prices/symbol_spellings", "saas/audit_log"):
        page.locator(f"a[href='/assets/{asset}']").first.wait_for()
    names = page.evaluate(
        """() => [...document.querySelectorAll("a[href^='/assets/']")]
            .map(a => a.innerText).filter(text => text.includes(" / "))"""
    )
    assert len(names) > 100
    assert [name for name in names if "…" in name] == []
