"""What needs a person, through the API and on its page: read, and answered by each action."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse.delivery import capture_id
from orchestration_project.gateway.api.attention import reader_of
from orchestration_project.services.attention.marks import Marks
from orchestration_project.tables.access import access_audit
from orchestration_project.tables.operations_alerts import operations_alerts
from orchestration_project.tables.operations_runs import operations_runs, operations_steps
from orchestration_project.tables.spine import (
    captures,
    rejects,
    work_items,
)
from tests.gateway.api.conftest import HOME, Api, open_api
from tests.situations import HOUR, SHA256, WEEKLY, Situation

PARTITION = "T2|2026-01-05"
EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API for these tests alone: they empty its tables."""
    with open_api(tmp_path_factory.mktemp("attention")) as opened:
        yield opened


@pytest.fixture
def situation(api: Api) -> Iterator[Situation]:
    """The database of the API, of which nothing is left afterwards."""
    opened = Situation(api.services.warehouse)
    yield opened
    opened.clear()


@pytest.fixture
def quarantined(api: Api, situation: Situation) -> dict[str, Any]:
    """The entry of a partition that is_complete quarantined."""
    group = situation.deliver(PARTITION, "held_back", 1)
    situation.audit(group, "is_complete", f"2 rows {EVIL}; SHA-256 {SHA256}")
    return entry_of(api, "quarantined")


def entry_of(api: Api, kind: str, role: str = "operator") -> dict[str, Any]:
    [entry] = api.get(f"/attention?kind={kind}", role)["entries"]
    return entry


def act(api: Api, entry: dict[str, Any], action: str, **fields: Any) -> Any:
    return api.post(f"/attention/{entry['entry_id']}/actions", {"action": action, **fields})


def run_of(api: Api, done: Any) -> Any:
    [run_id] = done["run_ids"]
    return api.services.instance.get_run_by_id(run_id)


def browser(api: Api, role: str) -> "Browser":
    return Browser(api, role)


class Browser:
    """Asks for pages with the cookie of a session, as a browser does."""

    def __init__(self, api: Api, role: str) -> None:
        self._api, self._cookie = api, ""
        answer = self.post("/login", {"key": str(api.keys[role])})
        self._cookie = answer.headers["set-cookie"].partition(";")[0]

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path, {"accept": "text/html"})

    def post(self, path: str, fields: dict[str, str], origin: str = HOME) -> httpx.Response:
        return self._ask("POST", path, {"origin": origin}, data=fields)

    def _ask(self, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        headers = {**headers, "cookie": self._cookie}
        return self._api.handle_request(
            httpx.Request(method, f"{HOME}{path}", headers=headers, **more)
        )


def test_a_viewer_reads_entries_with_counts_and_has_no_actions(api: Api, quarantined):
    answer = api.get("/attention?domain=finra")
    assert answer["by_kind"]["quarantined"] == 1
    assert answer["cut_kinds"] == []
    entry = entry_of(api, "quarantined", "viewer")
    assert (entry["title"], entry["actions"]) == (f"finra/otc_weekly {PARTITION}", [])
    assert quarantined["actions"] == ["retry", "replay", "accept", "ignore"]
    assert api.get(f"/attention/{entry['entry_id']}")["sha256"] == SHA256


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/attention?kind=nothing", 422),
        ("/attention?domain=nothing", 422),
        ("/attention?page=0", 422),
        ("/attention/0123456789abcdef", 404),
    ],
)
def test_an_unknown_filter_or_entry_is_refused(api: Api, path: str, status: int):
    assert api.expect_problem("GET", path)["status"] == status


@pytest.mark.parametrize("role", ["viewer", ""])
def test_who_is_no_operator_cannot_act(api: Api, quarantined, role: str):
    before = api.services.instance.get_runs_count()
    path = f"/attention/{quarantined['entry_id']}/actions"
    answers = [
        api.expect_problem("POST", path, role, json={"action": "retry"}),
        api.expect_problem("POST", "/attention/retry", role, json={"kind": "quarantined"}),
    ]
    assert {answer["status"] for answer in answers} == {403 if role else 401}
    assert api.services.instance.get_runs_count() == before


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"action": "close"}, 409, "does not have the action close"),
        ({"action": "erase"}, 422, "invalid request: action"),
        ({"action": "ignore", "reason": "later"}, 422, "invalid end"),
        ({"action": "accept"}, 422, "invalid reason"),
        (
            {"action": "ignore", "reason": "x", "until": "2020-01-01T00:00:00Z"},
            422,
            "invalid end",
        ),
        ({"action": "ignore", "reason": "x" * 501, "until": None}, 422, "invalid request: reason"),
        ({"action": "retry", "entry": "another"}, 422, "invalid request: entry"),
    ],
)
def test_an_invalid_action_is_refused_and_changes_nothing(
    api: Api, quarantined, body: dict[str, Any], status: int, text: str
):
    before = api.services.instance.get_runs_count()
    problem = api.expect_problem("POST", f"/attention/{quarantined['entry_id']}/actions", json=body)
    assert (problem["status"], text in problem["detail"]) == (status, True)
    assert api.services.instance.get_runs_count() == before
    assert Marks(api.services.warehouse).read() == {}


def test_an_entry_that_is_solved_meanwhile_is_not_found(api: Api, situation, quarantined):
    situation.deliver(PARTITION, "landed", 2)
    path = f"/attention/{quarantined['entry_id']}/actions"
    problem = api.expect_problem("POST", path, json={"action": "retry"})
    assert (problem["status"], problem["detail"]) == (404, "entry not found")
    assert "solved meanwhile" in problem["remedy"]


@pytest.mark.slow
def test_a_retry_loads_the_partition_again_and_the_audit_has_it(api: Api, quarantined):
    run = run_of(api, act(api, quarantined, "retry"))
    assert (run.job_name, run.tags["dagster/partition"]) == (WEEKLY, PARTITION)
    assert run.tags["user"] == "the operator"
    assert api.audited() == ("POST /attention", "done", "the operator")


def test_an_acceptance_is_a_replay_of_that_sha256_with_reason_user_and_end(api: Api, quarantined):
    until = Clock().now() + 2 * HOUR
    done = act(api, quarantined, "accept", reason="a short week", until=until.isoformat())
    run = run_of(api, done)
    config = run.run_config["ops"]["replay_finra"]["config"]
    assert run.job_name == "finra_replay"
    assert config == {
        "table": WEEKLY,
        "group_id": f"{WEEKLY}:{PARTITION}#1",
        "dry_run": False,
        "accept_sha256": SHA256,
        "accept_reason": "a short week (accepted by the operator)",
        "accept_until": until.isoformat(),
    }
    row = access_audit.c
    with api.services.warehouse.reading() as connection:
        requested = select(row.target).where(
            row.operation == "POST /attention", row.outcome == "asked"
        )
        [*_, target] = connection.execute(requested.order_by(row.happened_at)).scalars()
    assert f'"sha256": "{SHA256}"' in target
    assert '"reason": "a short week"' in target


def test_failed_items_are_retried_by_topic_and_reason(api: Api, situation):
    situation.item("prices_symbols", "AAA", 1, reason_code="contract")
    situation.item("prices_symbols", "BBB", 1, reason_code="transient")
    [entry] = [
        entry
        for entry in api.get("/attention?kind=failed_item")["entries"]
        if entry["category"] == "contract"
    ]
    run = run_of(api, act(api, entry, "retry"))
    config = run.run_config["ops"]["handle_runs"]["config"]["retry_failures"]
    assert config == {
        "dry_run": False,
        "topics": ["prices_symbols"],
        "reason_codes": ["contract"],
    }
    assert run.is_success
    with api.services.warehouse.reading() as connection:
        columns = (work_items.c.item_key, work_items.c.state)
        states = sorted(map(tuple, connection.execute(select(*columns))))
    assert states == [("AAA", "ready"), ("BBB", "dead")]


@pytest.mark.slow
def test_all_quarantined_partitions_are_retried_by_one_run_whatever_their_assets(
    api: Api, situation, quarantined
):
    situation.deliver("2026-01-01", "held_back", 1, "finra_treasury_monthly")
    done = api.post("/attention/retry", {"kind": "quarantined", "domain": "finra"})
    assert len(done["entry_ids"]) == 2
    config = run_of(api, done).run_config["ops"]["handle_runs"]["config"]["retry_failures"]
    assert config == {
        "domain": "finra",
        "kinds": ["contract", "source"],
        "include_items": False,
        "dry_run": False,
    }
    problem = api.expect_problem("POST", "/attention/retry", json={"kind": "failed_run"})
    assert (problem["status"], problem["detail"]) == (409, "there is nothing to retry")
    assert api.expect_problem("POST", "/attention/retry", json={"kind": "alert"})["status"] == 422


def test_an_alert_is_acknowledged_and_closed(api: Api, situation):
    situation.alert(1, "open")
    entry = entry_of(api, "alert")
    act(api, entry, "acknowledge", reason="ada looks at it")
    entry = entry_of(api, "alert")
    assert (entry["mark"]["state"], entry["mark"]["marked_by"]) == ("acknowledged", "the operator")
    assert entry["actions"] == ["close", "ignore", "restore"]
    act(api, entry, "close")
    assert api.get("/attention?kind=alert")["entries"] == []
    with api.services.warehouse.reading() as connection:
        states = select(operations_alerts.c.state).where(operations_alerts.c.alert_id == f"{1:032}")
        assert connection.execute(states).scalar_one() == "recovered"


@pytest.mark.slow
def test_a_failed_run_is_tried_again(api: Api, situation):
    failed = api.run("operations_export", config=FAILING)
    situation.run(1, "FAILURE", job="operations_export", domain="operations", step="export")
    with api.services.warehouse.writing() as connection:
        for table in (operations_runs, operations_steps):
            connection.execute(update(table).values(run_id=failed))
    entry = entry_of(api, "failed_run")
    assert (entry["run_id"], entry["actions"]) == (failed, ["retry", "ignore"])
    assert run_of(api, act(api, entry, "retry")).parent_run_id == failed


FAILING = {"ops": {"export": {"config": {"export_evidence": {"run_id": "no-such-run"}}}}}


def test_the_page_says_why_and_leads_to_partition_check_run_and_rows(api: Api, quarantined):
    page = browser(api, "viewer").get("/attention").text
    entry_id = quarantined["entry_id"]
    assert "is_complete</a>: expected at least 8 rows, found 2 rows &lt;script&gt;" in page
    assert EVIL not in page
    for path in (
        "/assets/finra/otc_weekly?view=checks&amp;checkDetail=is_complete",
        "/assets/finra/otc_weekly?view=partitions&amp;partition=T2%7C2026-01-05",
        "/runs/run-1",
        f"/attention/{entry_id}/rows/rejects",
        f"/attention/{entry_id}/rows/captures",
        "/attention?kind=quarantined",
    ):
        assert f'href="{path}"' in page
    assert "<strong>No:</strong> a retry alone does not help: it stays quarantined" in page
    assert "<form" not in page.partition("</header>")[2]
    assert re.search(r'href="/attention">Attention \(\d+\)</a>', page)


def test_deadlines_are_compared_with_the_clock_of_the_data(api: Api):
    now = datetime(2026, 1, 20, 15, tzinfo=UTC)
    settings = api.services.settings.model_copy(update={"demo_clock_now": now})
    reader = reader_of(replace(api.services, settings=settings))
    assert now <= reader.clock.now() < now + HOUR


def test_the_former_page_leads_to_the_quarantined_entries(api: Api):
    answer = browser(api, "viewer").get("/quarantined")
    assert (answer.status_code, answer.headers["location"]) == (308, "/attention?kind=quarantined")


@pytest.mark.slow
def test_an_operator_ignores_an_entry_on_the_page_and_shows_it_again(api: Api, quarantined):
    operator, path = browser(api, "operator"), f"/attention/{quarantined['entry_id']}"
    until = f"{Clock().now() + timedelta(days=1):%Y-%m-%dT%H:%MZ}"
    fields = {"action": "ignore", "reason": "<the source is informed>", "until": until}
    done = operator.post(path, fields)
    assert (done.status_code, done.headers["location"]) == (303, "/attention?done=ignore")
    assert "Ignore until: done" in operator.get(done.headers["location"]).text
    assert quarantined["title"] not in operator.get("/attention?kind=quarantined").text
    ignored = operator.get("/attention?ignored=true").text
    assert "ignored by the operator until" in ignored
    assert "&lt;the source is informed&gt;" in ignored
    assert operator.post(path, {"action": "restore"}).status_code == 303
    assert quarantined["title"] in operator.get("/attention?kind=quarantined").text


@pytest.mark.slow
def test_a_retry_on_the_page_leads_to_its_run(api: Api, situation, quarantined):
    operator, path = browser(api, "operator"), f"/attention/{quarantined['entry_id']}"
    done = operator.post(path, {"action": "retry"})
    [run_id] = parse_qs(urlsplit(done.headers["location"]).query)["runs"]
    assert f'href="/runs/{run_id}"' in operator.get(done.headers["location"]).text
    situation.deliver("2026-01-01", "held_back", 1, "finra_treasury_monthly")
    together = operator.post("/attention", {"kind": "quarantined", "domain": ""})
    assert together.status_code == 303
    assert "kind=quarantined" in together.headers["location"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"action": "accept", "reason": " "}, 422, "invalid reason"),
        ({"action": "ignore", "reason": "x", "until": "noon"}, 422, "invalid end of a pause"),
        ({"action": EVIL}, 422, "invalid request: action"),
        ({"reason": "x"}, 422, "invalid request: action"),
        ({"action": "close"}, 409, "does not have the action close"),
    ],
)
def test_an_invalid_form_is_explained_above_the_entry(
    api: Api, quarantined, fields: dict[str, str], status: int, text: str
):
    operator = browser(api, "operator")
    answer = operator.post(f"/attention/{quarantined['entry_id']}", fields)
    assert answer.status_code == status
    assert f'<p role="alert">{text}' in answer.text or text in answer.text
    assert EVIL not in answer.text
    assert Marks(api.services.warehouse).read() == {}


def test_a_form_of_another_site_or_a_viewer_is_refused(api: Api, quarantined):
    before = api.services.instance.get_runs_count()
    path = f"/attention/{quarantined['entry_id']}"
    for target, fields in ((path, {"action": "retry"}), ("/attention", {"kind": "quarantined"})):
        across = browser(api, "operator").post(target, fields, "https://evil.example")
        assert across.status_code == 403
        assert browser(api, "viewer").post(target, fields).status_code == 403
    assert api.services.instance.get_runs_count() == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/attention/0123456789abcdef", 404),
        ("/attention?kind=<script>", 422),
        ("/attention?page=x", 422),
        ("/attention/0123456789abcdef/rows/rejects", 404),
    ],
)
def test_an_unknown_page_is_explained_with_a_way_back(api: Api, path: str, status: int):
    answer = browser(api, "viewer").get(path)
    assert answer.status_code == status
    assert 'href="/attention">Back to all entries</a>' in answer.text
    assert "<script>" not in answer.text


@pytest.mark.slow
def test_rejected_rows_and_captures_are_pages_of_tables_with_a_way_back(
    api: Api, situation, quarantined
):
    capture = capture_id(quarantined["group_id"], 1)
    for line in range(1, 61):
        situation.add(
            rejects,
            capture_id=capture,
            table_name=WEEKLY,
            line_number=line,
            record=f"{EVIL} of line {line}",
            reason_code="wrong_type",
        )
    situation.add(
        captures,
        capture_id=capture,
        group_id=quarantined["group_id"],
        sha256=SHA256,
        fetched_at=Clock().now() - HOUR,
    )
    viewer, path = browser(api, "viewer"), f"/attention/{quarantined['entry_id']}"
    first = viewer.get(f"{path}/rows/rejects").text
    assert (first.count("wrong_type"), EVIL in first) == (50, False)
    assert f'href="{path}">Back to the entry</a>' in first
    _, shared = first.split("The same in all rows")
    assert (first.count(f"<td>{capture}</td>"), shared.count(f"<td>{capture}</td>")) == (1, 1)
    assert "run_id" not in first
    [following] = re.findall(r'href="([^"]+)">Next page', first)
    second = viewer.get(unescape(following)).text
    assert (second.count("wrong_type"), "Next page" in second) == (10, False)
    of_captures = viewer.get(f"{path}/rows/captures").text
    assert f'href="/api/v1/artifacts/{SHA256}"' in of_captures
    assert re.search(r"<td>fetched_at</td><td><[^>]+>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d<", of_captures)
    for wrong in ("access_keys", "saas_tasks", "rejects?cursor=x"):
        assert viewer.get(f"{path}/rows/{wrong}").status_code in (404, 422)
