"""However much a document requests, it is ended in time, and others are answered beside it."""

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

import pytest

from orchestration_project.engine.contracts.roles import Role
from orchestration_project.gateway import health
from orchestration_project.gateway.executions import (
    MAX_DOCUMENTS,
    MAX_DOCUMENTS_PER_USER,
    QUERY_SECONDS,
    Executions,
)
from tests.gateway.login_client import Answer, LoginClient, open_login_client
from tests.programs import wait_for


def jobs(levels: int) -> str:
    """Return a selection that requests all jobs of a location again, for each job."""
    return "jobs {repository {" * levels + "jobs {name}" + "}}" * levels


COSTLY = f"{{repositoriesOrError {{... on RepositoryConnection {{nodes {{{jobs(8)}}}}}}}}}"
OF_A_RUN = f"run {{assets {{definition {{repository {{{jobs(6)}}}}}}}}}"
SELECTOR = {
    "repositoryLocationName": "here",
    "repositoryName": "__repository__",
    "pipelineName": "work",
}


@pytest.fixture(scope="module")
def login_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoginClient]:
    """A gateway that ends a query after a moment."""
    folder = tmp_path_factory.mktemp("hurried")
    public = health.routes(health.Readiness([]))
    with open_login_client(folder, query_seconds=0.2, public=lambda _: public) as opened:
        yield opened


def said(answer: Answer) -> str:
    return answer.json["errors"][0]["message"]


def test_a_query_that_takes_too_long_is_ended_and_says_so(login_client: LoginClient):
    answer = login_client.graphql(COSTLY, key=login_client.keys[Role.VIEWER])
    assert answer.status == 504
    assert said(answer) == "The query took longer than 0.2 s and was ended. Ask for less at once."
    assert login_client.graphql("{version}", key=login_client.keys[Role.VIEWER]).status == 200


def test_one_user_takes_no_more_than_his_turns_and_others_have_theirs():
    begun, end = list[int](), Event()

    def wait(number: int) -> int:
        begun.append(number)
        end.wait()
        return number

    async def run_and_check_turns() -> list[int]:
        executions = Executions(seconds=60)
        own = [executions.run("one", partial(wait, number)) for number in range(12)]
        waiting = asyncio.gather(*own)
        await asyncio.to_thread(wait_for, lambda: len(begun) == MAX_DOCUMENTS_PER_USER)
        for number in range(3):
            assert await executions.run("other", lambda: "done") == "done", number
        assert len(begun) == MAX_DOCUMENTS_PER_USER < MAX_DOCUMENTS
        end.set()
        return await waiting

    assert asyncio.run(run_and_check_turns()) == list(range(12))


def test_what_a_mutation_does_is_done_however_much_is_asked_of_its_result(
    login_client: LoginClient,
):
    """The audit says that the answer is not known, as it is not."""
    query = f"""mutation ($p: ExecutionParams!) {{launchRun(executionParams: $p) {{__typename
      ... on LaunchRunSuccess {{{OF_A_RUN}}}}}}}"""
    params = {"p": {"selector": SELECTOR, "mode": "default"}}
    before = login_client.instance.get_runs_count()
    answer = login_client.graphql(query, params, key=login_client.keys[Role.OPERATOR])
    assert answer.status == 504
    assert login_client.instance.get_runs_count() == before + 1
    [_, row] = login_client.audit(answer.headers["x-request-id"])
    assert (row["outcome"], row["reason"]) == ("failed", said(answer))


def test_a_subscription_whose_events_ask_for_too_much_ends_with_the_reason(
    login_client: LoginClient,
):
    run = "mutation ($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename ...R}}"
    shape = " fragment R on LaunchRunSuccess {run {runId}}"
    params = {"p": {"selector": SELECTOR, "mode": "default"}}
    launched = login_client.graphql(run + shape, params, key=login_client.keys[Role.OPERATOR])
    run_id = launched.json["data"]["launchRun"]["run"]["runId"]
    query = f"""subscription ($id: ID!) {{pipelineRunLogs(runId: $id) {{
      ... on PipelineRunLogsSubscriptionSuccess {{{OF_A_RUN}}}}}}}"""
    payload = {"query": query, "variables": {"id": run_id}}
    with login_client.websocket(X_API_Key=str(login_client.keys[Role.VIEWER])) as websocket:
        websocket.send(json.dumps({"type": "start", "id": "1", "payload": payload}))
        found = json.loads(websocket.recv(timeout=20))
        assert "took longer" in found["payload"]["errors"][0]["message"]
        assert json.loads(websocket.recv(timeout=20))["type"] == "complete"


@pytest.mark.slow
def test_beside_twelve_of_the_costliest_healthz_answers_within_a_second(
    tmp_path_factory: pytest.TempPathFactory,
):
    public = health.routes(health.Readiness([]))
    folder = tmp_path_factory.mktemp("patient")
    with open_login_client(folder, public=lambda _: public) as login_client:
        keys = [login_client.key(Role.VIEWER, f"user {number % 4}") for number in range(12)]
        stop, seconds = Event(), list[float]()

        def look_and_expect_ok() -> None:
            while not stop.wait(0.05):
                before = time.monotonic()
                assert login_client.ask("GET", "/healthz").text == "ok"
                seconds.append(time.monotonic() - before)

        with ThreadPoolExecutor(13) as pool:
            looking = pool.submit(look_and_expect_ok)
            answers = list(pool.map(lambda key: login_client.graphql(COSTLY, key=key), keys))
            stop.set()
            looking.result()
    assert {answer.status for answer in answers} == {504}
    assert len(seconds) > QUERY_SECONDS
    assert sorted(seconds)[len(seconds) * 9 // 10] < 1
