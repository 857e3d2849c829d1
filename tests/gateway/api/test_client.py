"""The typed client against the API itself."""

import logging
from datetime import UTC, date, datetime

import httpx
import pytest

from orchestration_project.client import ApiError, Client, RunFailedError
from orchestration_project.client.progress import line_of
from orchestration_project.domains.api.runs import Event
from tests.gateway.api.conftest import FRIDAY, HOME, WEEK, Api


@pytest.fixture
def client(api):
    with Client(HOME, str(api.keys["operator"]), transport=api) as client:
        yield client


class Unsteady(httpx.BaseTransport):
    """A way to the gateway on which the first answers are lost, after they were given."""

    def __init__(self, api: Api, *, lost: int) -> None:
        self.api, self.lost, self.keys = api, lost, []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("idempotency-key"))
        answer = self.api.handle_request(request)
        if self.lost:
            self.lost -= 1
            raise httpx.ReadError("the connection broke off")
        return answer

    def client(self) -> Client:
        key = str(self.api.keys["operator"])
        return Client(HOME, key, transport=self, sleep=lambda _: None)


def test_a_run_is_launched_and_waited_for_with_its_progress(client, capsys):
    status = client.run_and_wait("operations_sessions", progress=True)
    assert (status.status, status.job, len(status.steps)) == ("SUCCESS", "operations_sessions", 1)
    lines = capsys.readouterr().err.splitlines()
    assert any("asset materialization operations/sessions" in line for line in lines)
    assert lines[-1].endswith("run success")


def test_a_run_that_fails_raises_with_what_failed(client):
    config = {"ops": {"apply_preset": {"config": {"preset": "full", "dry_run": False}}}}
    with pytest.raises(RunFailedError, match="nothing was applied") as raised:
        client.run_and_wait("operations_apply_preset", config=config)
    assert raised.value.status.status == "FAILURE"
    again = client.retry(raised.value.status.run_id)
    status = client.wait(again.run_id, check=False)
    assert (status.status, status.retry_of) == ("FAILURE", raised.value.status.run_id)


def test_a_launch_whose_answer_was_lost_is_made_once(api):
    way = Unsteady(api, lost=2)
    with way.client() as client:
        launched = client.launch("operations_sessions")
    assert launched.is_repeated
    assert len(way.keys) == 3
    assert len(set(way.keys)) == 1


def test_what_cannot_be_repeated_is_asked_for_once(api, landed):
    way = Unsteady(api, lost=1)
    with (
        way.client() as client,
        pytest.raises(httpx.ReadError),
    ):
        client.cancel(landed)
    assert way.keys == [None]


def test_a_problem_is_an_error_that_says_what_to_do(client):
    with pytest.raises(ApiError, match="did you mean finra_freshness") as raised:
        client.launch("finra_freshnes")
    assert raised.value.problem.status == 404


def test_an_answer_that_is_no_problem_is_an_error_all_the_same():
    way = httpx.MockTransport(lambda request: httpx.Response(418, text="<html>"))
    with Client(HOME, "key", transport=way) as client, pytest.raises(ApiError, match="418"):
        client.tables()


def test_a_key_goes_nowhere_in_clear_and_into_no_log(api, caplog):
    with pytest.raises(ValueError, match="begins with https"):
        Client("http://gateway.example", "key")
    caplog.set_level(logging.DEBUG)
    key = str(api.keys["viewer"])
    with Client(HOME, key, transport=api) as client:
        client.tables()
    assert key not in caplog.text


def test_a_table_is_read_row_by_row_or_as_a_frame_with_its_types(client, landed):
    where = ["tier=T1", "market=ATS"]
    rows = list(client.rows("finra_otc_weekly", columns=["symbol", "week_start"], where=where))
    frame = client.frame("finra_otc_weekly", columns=["symbol", "week_start"], where=where)
    assert len(rows) > 1000
    assert rows == [{"symbol": s, "week_start": str(w)} for s, w in frame.rows()]
    assert frame["week_start"][0] == date(2026, 2, 2)


def test_the_rest_of_the_api_has_typed_results(client, landed, tmp_path):
    assert landed in [run.run_id for run in client.runs(job="finra_otc_weekly")]
    assert client.pipeline_status(landed).status == "completed"
    again = client.run_pipeline("finra_otc_weekly", tier="T1", week_ending=FRIDAY)
    assert client.wait(again.execution_id).rows_in == 0
    asked = client.backfill("finra_otc_weekly", date(2026, 2, 2), date(2026, 2, 8), dry_run=True)
    assert WEEK in asked.partitions
    [capture] = client.artifacts(where=[f"run_id={landed}"])
    assert client.download(capture.capture_id, tmp_path / "page") == capture.sha256
    assert (tmp_path / "page").stat().st_size == capture.bytes
    assert client.preview_preset("standard").preset.name == "standard"
    assert "full" in [each.name for each in client.presets()]
    assert client.switch("sensor", "finra_on_gold", on=False).is_on is False
    assert len(client.automations("schedule")) > 1
    assert client.readiness().is_ready
    assert client.config().config_hash
    assert client.sessions().sessions is not None
    assert client.control_tower().rows is not None


def test_an_event_is_a_line_where_it_is_worth_one():
    def line(kind: str, level: str = "DEBUG", **more: str) -> str:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        fields = {"step": None, "asset": None, "partition": None, "message": "said\nmore"}
        return line_of(Event(id=1, at=at, type=kind, level=level, **(fields | more)), 1.5)

    assert line("LOG", "INFO") == "     1.5 s  said"
    assert line("STEP_FAILURE", step="load") == "     1.5 s  step failure load"
    assert line("LOG") == line("RESOURCE_INIT_STARTED") == ""
