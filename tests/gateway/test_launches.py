"""The need of an admin follows from what would run, whatever way it is requested.

`location.py` declares what is an admin's; nothing in the gateway knows its names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from orchestration_project.engine.contracts.roles import Role
from tests.expecting import expect_present
from tests.gateway.login_client import LoginClient

HERE = {"repositoryLocationName": "here", "repositoryName": "__repository__"}
THING, PARTS, SHREDS, REPORT = ({"path": [name]} for name in ("thing", "parts", "shreds", "report"))
REMOVALS = {"path": ["operations", "removals"]}
CAREFUL = {"assetKey": REMOVALS, "name": "is_careful"}
IMPLICIT = "__ASSET_JOB"
ADMINS, ANYBODYS = True, False


@dataclass(frozen=True)
class Asked:
    """A run that is requested."""

    job: str
    needs_admin: bool
    select: Mapping[str, Any] = field(default_factory=dict)
    steps: list[str] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def params(self, **metadata: str) -> dict[str, Any]:
        tags = [{"key": key, "value": value} for key, value in self.tags.items()]
        return {
            "selector": {**HERE, "pipelineName": self.job, **self.select},
            "mode": "default",
            "executionMetadata": {"tags": tags, **metadata},
            "stepKeys": self.steps,
            "runConfigData": self.config,
        }


def kind_config(kind: str) -> dict[str, Any]:
    """Return the run config that selects a kind."""
    return {"ops": {"do_kind": {"config": {kind: {}}}}}


A = {"dagster/partition": "a"}
RUNS = {
    "an asset beside its job": Asked("work", ADMINS, {"assetSelection": [REMOVALS]}),
    "an asset among others": Asked("work", ADMINS, {"assetSelection": [THING, REMOVALS]}),
    "an asset known by its declaration": Asked(
        "work", ADMINS, {"assetSelection": [SHREDS]}, None, A
    ),
    "an asset of an op job": Asked("work", ADMINS, {"assetSelection": [{"path": ["ashes"]}]}),
    "a check beside its job": Asked("work", ADMINS, {"assetCheckSelection": [CAREFUL]}),
    "a check alone": Asked(
        IMPLICIT, ADMINS, {"assetSelection": [], "assetCheckSelection": [CAREFUL]}
    ),
    "a check with another asset": Asked(
        IMPLICIT, ADMINS, {"assetSelection": [THING], "assetCheckSelection": [CAREFUL]}
    ),
    "an asset without its check": Asked(
        IMPLICIT, ADMINS, {"assetSelection": [REMOVALS], "assetCheckSelection": []}
    ),
    "an asset by itself": Asked(IMPLICIT, ADMINS, {"assetSelection": [REMOVALS]}),
    "all of a job": Asked("mixed", ADMINS),
    "a step": Asked("mixed", ADMINS, {}, ["operations__removals"]),
    "no step, which are all": Asked("mixed", ADMINS, {}, []),
    "an op": Asked(IMPLICIT, ADMINS, {"solidSelection": ["operations__removals"]}),
    "an op and what is before it": Asked(
        "mixed", ADMINS, {"solidSelection": ["*operations__removals"]}
    ),
    "an op of another job": Asked("look_and_sweep", ADMINS, {"solidSelection": ["sweep"]}),
    "an op of a graph": Asked(IMPLICIT, ADMINS, {"solidSelection": ["ashes.choose"]}),
    "a step of a graph": Asked(
        IMPLICIT, ADMINS, {"assetSelection": [{"path": ["ashes"]}]}, ["ashes.choose"]
    ),
    "a job": Asked("operations_cleanup", ADMINS),
    "a job that does more": Asked("look_and_sweep", ADMINS),
    "a step of a job": Asked("look_and_sweep", ADMINS, {}, ["sweep"]),
    "a job by its tags": Asked("named_by_its_tags", ADMINS),
    "a job whose tag is overridden": Asked(
        "named_by_its_tags", ADMINS, tags={"requires_admin": "false"}
    ),
    "a job, with tags that name other steps": Asked(
        "mixed",
        ADMINS,
        tags={"dagster/step_selection": "thing", "dagster/solid_selection": "thing"},
    ),
    "a kind of a job": Asked("kinds", ADMINS, config=kind_config("deletes")),
    "a harmless kind of such a job": Asked("kinds", ANYBODYS, config=kind_config("harmless")),
    "a harmless job": Asked("work", ANYBODYS),
    "a harmless job, with tags that name an admin's": Asked(
        "work", ANYBODYS, tags={"dagster/step_selection": "operations__removals"}
    ),
    "a harmless asset": Asked(IMPLICIT, ANYBODYS, {"assetSelection": [THING]}),
    "a harmless asset of such a job": Asked("mixed", ANYBODYS, {"assetSelection": [THING]}),
    "a harmless step of such a job": Asked("mixed", ANYBODYS, {}, ["thing"]),
    "a harmless op of such a job": Asked("look_and_sweep", ANYBODYS, {"solidSelection": ["look"]}),
    "a harmless step of such an op job": Asked("look_and_sweep", ANYBODYS, {}, ["look"]),
    "an asset that reads an admin's": Asked("work", ANYBODYS, {"assetSelection": [REPORT]}),
    "a job that reads an admin's": Asked("reports", ANYBODYS),
}

MUTATIONS = {
    "launchRun": "(executionParams: $p) {__typename}",
    "launchPipelineExecution": "(executionParams: $p) {__typename}",
    "launchMultipleRuns": """(executionParamsList: [$p]) {__typename
      ... on LaunchMultipleRunsResult {launchMultipleRunsResult {__typename}}}""",
    "launchRunReexecution": "(executionParams: $p) {__typename}",
    "launchPipelineReexecution": "(executionParams: $p) {__typename}",
}


def launching(mutation: str) -> str:
    return f"mutation ($p: ExecutionParams!) {{{mutation}{MUTATIONS[mutation]}}}"


def made(login_client: LoginClient) -> tuple[int, int]:
    """Return how many runs and backfills there are."""
    return login_client.instance.get_runs_count(), len(login_client.instance.get_backfills())


def kinds(found: Any) -> list[str]:
    """Return the types of all that was answered, without those that hold others."""
    if isinstance(found, list):
        return [kind for page in found for kind in kinds(page)]
    inner = [
        kind for value in found.values() if isinstance(value, list | dict) for kind in kinds(value)
    ]
    return inner or [found["__typename"]]


def ask_without_failure(
    login_client: LoginClient, role: Role, query: str, **variables: Any
) -> set[str]:
    answer = login_client.graphql(query, variables, key=login_client.keys[role])
    assert answer.status == 200, answer.text
    return set(kinds(answer.json["data"]))


@pytest.fixture(scope="module")
def parent(login_client: LoginClient) -> str:
    """The id of a run of an operator's, that others name as what they try again."""
    query = "mutation ($p: ExecutionParams!) {launchRun(executionParams: $p) {... R}}"
    return launched(login_client, Role.OPERATOR, RUNS["a harmless job"], query)


def launched(login_client: LoginClient, role: Role, wanted: Asked, query: str) -> str:
    shape = " fragment R on LaunchRunResult {__typename ... on LaunchRunSuccess {run {runId}}}"
    query = query.replace("{... R}", "{__typename ... R}") + shape
    answer = login_client.graphql(query, {"p": wanted.params()}, key=login_client.keys[role])
    return answer.json["data"]["launchRun"]["run"]["runId"]


def judged(
    login_client: LoginClient, role: Role, mutation: str, wanted: Asked, parent: str
) -> set[str]:
    is_again = "Reexecution" in mutation
    metadata = {"rootRunId": parent, "parentRunId": parent} if is_again else {}
    return ask_without_failure(login_client, role, launching(mutation), p=wanted.params(**metadata))


def refused_or_done(wanted: Asked) -> set[str]:
    return {"UnauthorizedError" if wanted.needs_admin else "LaunchRunSuccess"}


@pytest.mark.slow_after_first
@pytest.mark.parametrize("number", range(len(RUNS)), ids=list(RUNS))
def test_a_run_that_would_run_what_is_an_admins_needs_an_admin(
    login_client: LoginClient, parent: str, number: int
):
    """Each way to select with one of the mutations, in turn."""
    wanted = list(RUNS.values())[number]
    before = made(login_client)
    mutation = list(MUTATIONS)[number % len(MUTATIONS)]
    assert judged(login_client, Role.OPERATOR, mutation, wanted, parent) == refused_or_done(wanted)
    assert (made(login_client) == before) == wanted.needs_admin


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_every_mutation_that_launches_and_way_to_select_is_judged_by_role(
    login_client: LoginClient, parent: str, name: str
):
    wanted = RUNS[name]
    for mutation in MUTATIONS:
        query, before = launching(mutation), made(login_client)
        refused = login_client.graphql(
            query, {"p": wanted.params()}, key=login_client.keys[Role.VIEWER]
        )
        assert refused.status == 403
        assert judged(login_client, Role.OPERATOR, mutation, wanted, parent) == refused_or_done(
            wanted
        )
        assert (made(login_client) == before) == wanted.needs_admin
        assert judged(login_client, Role.ADMIN, mutation, wanted, parent) == {"LaunchRunSuccess"}


AGAIN = """mutation ($p: ReexecutionParams) {
  a: launchRunReexecution(reexecutionParams: $p) {__typename}
  b: launchPipelineReexecution(reexecutionParams: $p) {__typename}}"""
LAUNCH = "mutation ($p: ExecutionParams!) {launchRun(executionParams: $p) {... R}}"


STRATEGIES = ("ALL_STEPS", "FROM_FAILURE", "FROM_ASSET_FAILURE")
TRIED_AGAIN = ("an asset beside its job", "an asset by itself", "a job")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        pytest.param(name, strategy, marks=() if (row, column) == (0, 1) else pytest.mark.slow)
        for row, name in enumerate(TRIED_AGAIN)
        for column, strategy in enumerate(STRATEGIES)
    ],
)
def test_a_run_of_an_admins_is_tried_again_by_an_admin(
    login_client: LoginClient, strategy: str, name: str
):
    run_id = launched(login_client, Role.ADMIN, RUNS[name], LAUNCH)
    run = login_client.instance.get_run_by_id(run_id)
    assert run
    login_client.instance.report_run_failed(run)
    before = made(login_client)
    for more in ({}, {"useParentRunTags": False, "extraTags": [{"key": "k", "value": "v"}]}):
        wanted = {"parentRunId": run_id, "strategy": strategy, **more}
        assert ask_without_failure(login_client, Role.OPERATOR, AGAIN, p=wanted) == {
            "UnauthorizedError"
        }
    assert made(login_client) == before
    if not (name == "a job" and strategy == "FROM_ASSET_FAILURE"):  # which makes no asset
        wanted = {"parentRunId": run_id, "strategy": strategy}
        assert ask_without_failure(login_client, Role.ADMIN, AGAIN, p=wanted) == {
            "LaunchRunSuccess"
        }


def partitions_of(job: str) -> dict[str, Any]:
    where = {"repositoryLocationName": "here", "repositoryName": "__repository__"}
    name = f"{job}_partition_set"
    return {"selector": {"partitionSetName": name, "repositorySelector": where}}


def chosen(*assets: Any) -> dict[str, Any]:
    return {"assetSelection": list(assets)}


RANGE = {"range": {"start": "a", "end": "b"}}
ALL, BOTH = {"allPartitions": True}, {"partitionNames": ["a", "b"]}
BACKFILLS = {
    "an asset": (ADMINS, chosen(SHREDS) | BOTH),
    "an asset among others": (ADMINS, chosen(PARTS, SHREDS) | ALL),
    "an asset without partitions": (ADMINS, chosen(REMOVALS) | ALL),
    "a range of an asset": (
        ADMINS,
        {"partitionsByAssets": [{"assetKey": SHREDS, "partitions": RANGE}]},
    ),
    "an asset beside its job": (ADMINS, partitions_of("lettered") | chosen(SHREDS) | BOTH),
    "an asset beside its job, at once": (
        ADMINS,
        partitions_of("lettered") | chosen(SHREDS) | BOTH | {"forceSynchronousSubmission": True},
    ),
    "a job": (ADMINS, partitions_of("shredding") | ALL),
    "a job, from its failures": (ADMINS, partitions_of("shredding") | BOTH | {"fromFailure": True}),
    "a step of a job": (
        ADMINS,
        partitions_of("shredding") | BOTH | {"reexecutionSteps": ["shreds"]},
    ),
    "a harmless asset": (ANYBODYS, chosen(PARTS) | BOTH),
    "a range of a harmless asset": (
        ANYBODYS,
        {"partitionsByAssets": [{"assetKey": PARTS, "partitions": RANGE}]},
    ),
    "a harmless job": (ANYBODYS, partitions_of("lettered") | ALL),
    "a harmless asset of such a job": (
        ANYBODYS,
        partitions_of("shredding") | chosen(PARTS) | BOTH,
    ),
}
BACKFILL = """mutation ($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p)
  {__typename ... on LaunchBackfillSuccess {backfillId}}}"""


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", BACKFILLS)
def test_a_backfill_that_would_run_what_is_an_admins_needs_an_admin(
    login_client: LoginClient, name: str
):
    needs_admin, wanted = BACKFILLS[name]
    before = made(login_client)
    found = ask_without_failure(login_client, Role.OPERATOR, BACKFILL, p=wanted)
    assert found == ({"UnauthorizedError"} if needs_admin else {"LaunchBackfillSuccess"})
    assert (made(login_client) == before) == needs_admin
    if needs_admin:
        assert ask_without_failure(login_client, Role.ADMIN, BACKFILL, p=wanted) == {
            "LaunchBackfillSuccess"
        }


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", ["an asset", "an asset beside its job", "a job"])
def test_a_backfill_of_an_admins_is_resumed_repeated_and_ended_by_an_admin(
    login_client: LoginClient, name: str
):
    answer = login_client.graphql(
        BACKFILL, {"p": BACKFILLS[name][1]}, key=login_client.keys[Role.ADMIN]
    )
    backfill_id = answer.json["data"]["launchPartitionBackfill"]["backfillId"]
    end = "mutation ($id: String!) {cancelPartitionBackfill(backfillId: $id) {__typename}}"
    resume = "mutation ($id: String!) {resumePartitionBackfill(backfillId: $id) {__typename}}"
    repeat = """mutation ($p: ReexecutionParams) {
      reexecutePartitionBackfill(reexecutionParams: $p) {__typename}}"""
    again = {"parentRunId": backfill_id, "strategy": "ALL_STEPS"}

    def status() -> BulkActionStatus:
        found = expect_present(login_client.instance.get_backfill(backfill_id))
        return found.status

    assert ask_without_failure(login_client, Role.OPERATOR, end, id=backfill_id) == {
        "UnauthorizedError"
    }
    assert status() is BulkActionStatus.REQUESTED
    assert ask_without_failure(login_client, Role.ADMIN, end, id=backfill_id) == {
        "CancelBackfillSuccess"
    }
    assert status() is BulkActionStatus.CANCELING
    ended = login_client.instance.get_backfill(backfill_id)
    assert ended
    login_client.instance.update_backfill(ended.with_status(BulkActionStatus.CANCELED))
    before = made(login_client)
    assert ask_without_failure(login_client, Role.OPERATOR, repeat, p=again) == {
        "UnauthorizedError"
    }
    assert ask_without_failure(login_client, Role.OPERATOR, resume, id=backfill_id) == {
        "UnauthorizedError"
    }
    assert (made(login_client), status()) == (before, BulkActionStatus.CANCELED)
    assert ask_without_failure(login_client, Role.ADMIN, repeat, p=again) == {
        "LaunchBackfillSuccess"
    }
    assert ask_without_failure(login_client, Role.ADMIN, resume, id=backfill_id) == {
        "ResumeBackfillSuccess"
    }


SCHEDULES = {
    "nightly_mixed": ADMINS,
    "nightly_sweep": ADMINS,
    "nightly_shreds": ADMINS,
    "nightly_reports": ANYBODYS,
    "nightly": ANYBODYS,
}
SENSORS = {
    "on_either": ADMINS,
    "on_shreds": ADMINS,
    "on_target": ADMINS,
    "automation": ADMINS,
    "no_ashes": ANYBODYS,
    "on_parts": ANYBODYS,
    "on_thing": ANYBODYS,
    "on_nothing": ANYBODYS,
}
START_SCHEDULE = """mutation ($s: ScheduleSelector!) {
  a: startSchedule(scheduleSelector: $s) {__typename}
  b: resetSchedule(scheduleSelector: $s) {__typename}
  c: scheduleDryRun(selectorData: $s, timestamp: 1700000000) {__typename}}"""
START_SENSOR = """mutation ($s: SensorSelector!) {
  a: startSensor(sensorSelector: $s) {__typename}
  b: resetSensor(sensorSelector: $s) {__typename}
  c: sensorDryRun(selectorData: $s, cursor: "1") {__typename}
  d: setSensorCursor(sensorSelector: $s, cursor: "1") {__typename}}"""


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_that_would_launch_what_is_an_admins_needs_an_admin(
    login_client: LoginClient, name: str
):
    wanted = HERE | {"scheduleName": name}
    done = {"ScheduleStateResult", "DryRunInstigationTick"}
    found = ask_without_failure(login_client, Role.OPERATOR, START_SCHEDULE, s=wanted)
    assert found == ({"UnauthorizedError"} if SCHEDULES[name] else done)
    assert ask_without_failure(login_client, Role.ADMIN, START_SCHEDULE, s=wanted) == done


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", SENSORS)
def test_a_sensor_that_would_launch_what_is_an_admins_needs_an_admin(
    login_client: LoginClient, name: str
):
    wanted = HERE | {"sensorName": name}
    done = {"Sensor", "DryRunInstigationTick"}
    found = ask_without_failure(login_client, Role.OPERATOR, START_SENSOR, s=wanted)
    assert found == ({"UnauthorizedError"} if SENSORS[name] else done)
    assert ask_without_failure(login_client, Role.ADMIN, START_SENSOR, s=wanted) == done


def test_an_operator_stops_a_schedule_of_an_admins_and_does_not_start_it_again(
    login_client: LoginClient,
):
    wanted = HERE | {"scheduleName": "nightly_sweep"}
    assert "ScheduleStateResult" in ask_without_failure(
        login_client, Role.ADMIN, START_SCHEDULE, s=wanted
    )
    query = """query ($s: ScheduleSelector!) {scheduleOrError(scheduleSelector: $s) {__typename
      ... on Schedule {scheduleState {id status}}}}"""

    def state() -> dict[str, Any]:
        answer = login_client.graphql(query, {"s": wanted}, key=login_client.keys[Role.VIEWER])
        return answer.json["data"]["scheduleOrError"]["scheduleState"]

    stop = "mutation ($id: String) {stopRunningSchedule(id: $id) {__typename}}"
    assert ask_without_failure(login_client, Role.OPERATOR, stop, id=state()["id"]) == {
        "ScheduleStateResult"
    }
    assert state()["status"] == "STOPPED"
    assert ask_without_failure(login_client, Role.OPERATOR, START_SCHEDULE, s=wanted) == {
        "UnauthorizedError"
    }
    assert state()["status"] == "STOPPED"


def test_automation_that_would_make_what_is_an_admins_is_switched_on_by_an_admin(
    login_client: LoginClient,
):
    toggle = "mutation {setAutoMaterializePaused(paused: false)}"
    refused = login_client.graphql(toggle, key=login_client.keys[Role.OPERATOR])
    assert "Unauthorized" in refused.json["errors"][0]["message"]
    done = login_client.graphql(toggle, key=login_client.keys[Role.ADMIN])
    assert done.json == {"data": {"setAutoMaterializePaused": False}}


TICKS = """query ($s: ScheduleSelector!) {scheduleOrError(scheduleSelector: $s) {__typename
  ... on Schedule {
    futureTick(tickTimestamp: 1700000000) {evaluationResult {...E}}
    futureTicks(limit: 1) {results {evaluationResult {...E}}}
    scheduleState {nextTick {evaluationResult {...E}}}}}}
  fragment E on TickEvaluation {runRequests {runKey} error {message}}"""


@pytest.mark.slow_after_first
@pytest.mark.parametrize("name", ["nightly", "nightly_sweep"])
@pytest.mark.parametrize("role", list(Role))
def test_a_query_evaluates_a_schedule_for_those_alone_who_may_try_it(
    login_client: LoginClient, role: Role, name: str
):
    """To evaluate one runs its code, which may launch something by itself."""
    wanted = HERE | {"scheduleName": name}
    ask_without_failure(login_client, Role.ADMIN, START_SCHEDULE, s=wanted)
    answer = login_client.graphql(TICKS, {"s": wanted}, key=login_client.keys[role])
    found = answer.json["data"]["scheduleOrError"]
    results = [
        found["futureTick"]["evaluationResult"],
        found["futureTicks"]["results"][0]["evaluationResult"],
    ]
    may = role is Role.ADMIN or (role is Role.OPERATOR and name == "nightly")
    for result in results:
        assert bool(result["runRequests"]) == may
        assert (result["error"] is None) == may


def test_a_run_of_an_admins_is_ended_by_an_admin_however_it_was_launched(login_client: LoginClient):
    end = """mutation ($id: String!, $ids: [String!]!) {
      a: terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) {__typename}
      b: terminatePipelineExecution(runId: $id) {__typename}
      c: terminateRuns(runIds: $ids, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) {__typename
        ... on TerminateRunsResult {terminateRunResults {__typename}}}}"""

    def ended(run_id: str) -> set[str]:
        return ask_without_failure(login_client, Role.OPERATOR, end, id=run_id, ids=[run_id])

    def is_finished(run_id: str) -> bool:
        run = login_client.instance.get_run_by_id(run_id)
        return bool(run and run.is_finished)

    for name in ("an asset beside its job", "an asset by itself", "a job"):
        run_id = launched(login_client, Role.ADMIN, RUNS[name], LAUNCH)
        assert ended(run_id) == {"TerminateRunFailure"}
        assert not is_finished(run_id)
    own = launched(login_client, Role.OPERATOR, RUNS["a harmless job"], LAUNCH)
    assert "TerminateRunSuccess" in ended(own)
    assert is_finished(own)


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "unknown",
    [
        {"pipelineName": "none"},
        {"repositoryName": "none"},
        {"repositoryLocationName": "none"},
        {"assetSelection": [{"path": ["none"]}]},
        {"assetCheckSelection": [{"assetKey": THING, "name": "none"}]},
        {"solidSelection": ["none"]},
    ],
)
def test_what_there_is_not_is_not_launched(login_client: LoginClient, unknown: dict[str, Any]):
    wanted = Asked("work", ADMINS, unknown).params()
    before = made(login_client)
    for mutation in MUTATIONS:
        login_client.graphql(
            launching(mutation), {"p": wanted}, key=login_client.keys[Role.OPERATOR]
        )
    assert made(login_client) == before


def test_a_refused_launch_is_in_the_audit_as_such(login_client: LoginClient):
    query = "mutation ($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename}}"
    wanted = RUNS["an asset beside its job"].params()
    answer = login_client.graphql(query, {"p": wanted}, key=login_client.keys[Role.OPERATOR])
    [_, row] = login_client.audit(answer.headers["x-request-id"])
    assert (row["outcome"], row["reason"]) == ("refused", "UnauthorizedError")
    assert json.loads(row["target"])["path"] == REMOVALS["path"]


def test_no_request_names_the_run_that_the_daemon_starts_as_a_retry(login_client: LoginClient):
    """Dagster's daemon submits the run that this tag names, whoever's it is."""
    tagged = Asked("work", ANYBODYS, tags={"dagster/auto_retry_run_id": "an admin's"})
    run = login_client.instance.get_run_by_id(launched(login_client, Role.OPERATOR, tagged, LAUNCH))
    assert isinstance(run, dg.DagsterRun)
    assert "dagster/auto_retry_run_id" not in run.tags
