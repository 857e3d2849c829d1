"""No caller sets the tags by which the project reads where a run comes from."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import pytest

import orchestration_project
from orchestration_project.engine.contracts.roles import Role
from orchestration_project.services.ledger.rules.entries import (
    DESCRIBING_TAGS,
    RESERVED_TAGS,
    reset_reserved_tags,
)
from tests.expecting import expect_present
from tests.gateway.login_client import LoginClient
from tests.gateway.test_launches import HERE

FORGED = [{"key": name, "value": "forged"} for name in sorted(RESERVED_TAGS)]
FORGED_AND_OWN = [*FORGED, {"key": "ticket", "value": "7"}]
BACKFILLS: dict[str, dict[str, Any]] = {
    "of assets": {"assetSelection": [{"path": ["parts"]}]},
    "of a job": {
        "selector": {
            "partitionSetName": "lettered_partition_set",
            "repositorySelector": HERE,
        }
    },
}

CALLERS_TAGS = {
    "dagster/partition": "what the run loads",
    "dagster/asset_partition_range_start": "what the run loads",
    "dagster/asset_partition_range_end": "what the run loads",
    "dagster/priority": "order of the queue, which a caller may choose",
    "dagster/max_retries": "how often Dagster retries, which a caller may choose",
    "dagster-celery/run_priority": "order of the queue, which a caller may choose",
    "dagster-celery/queue": "the worker's queue, which a caller may choose",
    "webhook_source": "which recorded delivery the run reads again",
    "webhook_delivery_id": "which recorded delivery the run reads again",
    "documents_fail_on": "when the run fails, which a caller may choose",
    "retries": "whether the run is retried, which a caller may choose",
    "dagster/partition_set": "which partitions the run knows",
    "requires_admin_for": "roles are judged by the tags of definitions, not of runs",
    "requires_admin": "roles are judged by the tags of definitions, not of runs",
}
"""Tags that code reads and a caller may set, and why."""


def launch_params(job: str = "work", tags: Any = (), **metadata: str) -> dict[str, Any]:
    return {
        "selector": {**HERE, "pipelineName": job},
        "mode": "default",
        "executionMetadata": {"tags": list(tags), **metadata},
    }


def launch(login_client: LoginClient, query: str, **variables: Any) -> dg.DagsterRun:
    answer = login_client.graphql(query, variables, key=login_client.keys[Role.OPERATOR])
    found = answer.json["data"]["launched"]
    found = found.get("launchMultipleRunsResult", [found])[0]
    return expect_present(login_client.instance.get_run_by_id(found["run"]["runId"]))


RUN = "__typename ... on LaunchRunSuccess {run {runId}}"
LAUNCHES = {
    "launchRun": f"(executionParams: $p) {{{RUN}}}",
    "launchPipelineExecution": f"(executionParams: $p) {{{RUN}}}",
    "launchPipelineReexecution": f"(executionParams: $p) {{{RUN}}}",
    "launchMultipleRuns": "(executionParamsList: [$p]) {__typename ... on LaunchMultipleRunsResult "
    f"{{launchMultipleRunsResult {{{RUN}}}}}}}",
}


def launching(mutation: str) -> str:
    return f"mutation ($p: ExecutionParams!) {{launched: {mutation}{LAUNCHES[mutation]}}}"


def forged_in(tags: Any) -> list[str]:
    return [name for name, value in tags.items() if value == "forged"]


@pytest.mark.slow_after_first
@pytest.mark.parametrize("mutation", LAUNCHES)
def test_a_launched_run_has_no_reserved_tag_of_its_caller(login_client: LoginClient, mutation: str):
    parent = launch(login_client, launching("launchRun"), p=launch_params())
    named = {"rootRunId": parent.run_id, "parentRunId": parent.run_id}
    metadata = named if "Reexecution" in mutation else {}
    run = launch(
        login_client, launching(mutation), p=launch_params(tags=FORGED_AND_OWN, **metadata)
    )
    assert forged_in(run.tags) == []
    assert (run.tags["ticket"], run.tags["user"]) == ("7", "the operator")


def test_a_run_that_is_executed_again_has_no_reserved_tag_of_its_caller(login_client: LoginClient):
    parent = launch(login_client, launching("launchRun"), p=launch_params())
    query = f"""mutation ($p: ReexecutionParams) {{
      launched: launchRunReexecution(reexecutionParams: $p) {{{RUN}}}}}"""
    params = {"parentRunId": parent.run_id, "strategy": "ALL_STEPS", "extraTags": FORGED_AND_OWN}
    run = launch(login_client, query, p=params)
    assert (forged_in(run.tags), run.tags["ticket"]) == ([], "7")


@pytest.mark.parametrize("kind", BACKFILLS)
def test_a_backfill_has_no_reserved_tag_of_its_caller(login_client: LoginClient, kind: str):
    query = """mutation ($b: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $b)
      {__typename ... on LaunchBackfillSuccess {backfillId}}}"""
    params = {**BACKFILLS[kind], "partitionNames": ["a"], "tags": FORGED_AND_OWN}
    answer = login_client.graphql(query, {"b": params}, key=login_client.keys[Role.OPERATOR])
    backfill_id = answer.json["data"]["launchPartitionBackfill"]["backfillId"]
    backfill = login_client.instance.get_backfill(backfill_id)
    assert backfill
    assert (forged_in(backfill.tags), backfill.tags["ticket"]) == ([], "7")


def test_a_run_of_another_job_hands_no_tags_on(login_client: LoginClient):
    job = dg.define_asset_job("reports").resolve(
        asset_graph=dg.Definitions(assets=[dg.AssetSpec("report")]).resolve_asset_graph()
    )
    scheduled = {"dagster/schedule_name": "forged", "preset": "forged", "domain": "forged"}
    parent = login_client.instance.create_run_for_job(job, tags=scheduled)
    tags = [{"key": name, "value": value} for name, value in scheduled.items()]
    params = launch_params(tags=tags, rootRunId=parent.run_id, parentRunId=parent.run_id)
    assert forged_in(launch(login_client, launching("launchRun"), p=params).tags) == []


def test_a_run_takes_over_what_describes_its_parent_and_not_who_launched_it():
    parent = dict.fromkeys(RESERVED_TAGS, "parent's")
    repeated = reset_reserved_tags(parent, {}, parent)
    assert repeated.keys() == DESCRIBING_TAGS
    assert reset_reserved_tags({"domain": "x"}, {"domain": "job's"}, {}) == {"domain": "job's"}


def test_every_tag_that_code_reads_is_reserved_or_named_as_a_callers():
    assert not RESERVED_TAGS & CALLERS_TAGS.keys()
    names = {name for file in source_files() for name in tags_read(file)}
    assert {"user", "dagster/schedule_name", "routing_key", "requested_by", "session"} <= names
    assert names - RESERVED_TAGS - CALLERS_TAGS.keys() == set()


def source_files() -> list[Path]:
    root = Path(orchestration_project.__file__).parent
    return [file for file in sorted(root.rglob("*.py")) if "tags" in file.read_text()]


def tags_read(file: Path) -> Iterator[str]:
    """Yield the names of the tags that a module reads or filters runs by."""
    root = Path(orchestration_project.__file__).parent.parent
    if {"demo", "domains/saas", "templates"} & {*file.parts, "/".join(file.parts[-3:-1])}:
        return  # pages and documents, whose tags are not those of runs
    name = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    tree = ast.parse(file.read_text())
    module = import_module(name)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr="get", value=value), args=[key, *_]) if is_tags(
                value
            ):
                yield from texts(key, tree, module)
            case ast.Subscript(value=value, slice=key) if is_tags(value):
                yield from texts(key, tree, module)
            case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[value]) if (
                is_tags(value)
            ):
                yield from texts(key, tree, module)
            case ast.Call(func=ast.Attribute(attr="RunsFilter"), keywords=keywords):
                yield from (
                    text for keyword in keywords for text in filtered(keyword, tree, module)
                )
            case ast.Name(id=name) if name.endswith("_TAG"):
                yield from texts(node, tree, module)


def filtered(keyword: ast.keyword, tree: ast.Module, module: ModuleType) -> Iterator[str]:
    """Yield the names of tags by which runs are filtered."""
    if keyword.arg == "tags" and isinstance(keyword.value, ast.Dict):
        for key in keyword.value.keys:
            if key is not None:
                yield from texts(key, tree, module)


def is_tags(node: ast.expr) -> bool:
    """Return whether an expression is the tags of a run, by its name."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in {"tags", "run_tags"}
    return False


def texts(node: ast.expr, tree: ast.Module, module: ModuleType) -> list[str]:
    """Return the texts that an expression stands for: a literal, a constant, or those of a loop."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if not isinstance(node, ast.Name):
        return []
    value = getattr(module, node.id, None)
    if isinstance(value, str):
        return [value]
    return [text for loop in loops_of(node.id, tree) for text in constants_of(loop, module)]


def loops_of(name: str, tree: ast.Module) -> Iterator[ast.expr]:
    """Yield what the loops iterate over whose variable has this name."""
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.comprehension)]
    for loop in loops:
        if name in {node.id for node in ast.walk(loop.target) if isinstance(node, ast.Name)}:
            yield loop.iter


def constants_of(iterable: ast.expr, module: ModuleType) -> Iterator[str]:
    """Yield the texts of the constants of a module in an expression, and its literals."""
    for node in ast.walk(iterable):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        value = getattr(module, node.id, None) if isinstance(node, ast.Name) else None
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | tuple | frozenset | set):
            yield from (text for text in value if isinstance(text, str))
