"""Every way to request partitions, under the real daemon: what was asked for is loaded, no more."""

import http.client
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import func, select

from orchestration_project.domains.finra.datasets import DATASETS
from orchestration_project.instance.storage import open_instance
from orchestration_project.tables.operations_runs import operations_control_tower, operations_runs
from orchestration_project.tables.spine import landings
from tests import databases, programs
from tests.faults.stack import ASSETS, Stack
from tests.postgres import new_database

pytestmark = pytest.mark.slow

PARTITION = "dagster/partition"
RANGE, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
BACKFILL = """mutation B($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p)
  {__typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}"""
AGAIN = """mutation R($p: ReexecutionParams) {launchRunReexecution(reexecutionParams: $p)
  {__typename ... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}"""
REPOSITORY = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "orchestration_project.definitions",
}
OTC, GOLD, BONDS = "finra/otc_weekly", "finra/symbol_rolling_6w", "finra/bond_trade_activity"
TREASURIES, BREADTH = "finra/treasury_weekly", "finra/corporate_market_breadth"
DAGSTER = ("dagster", "job")
DEFINITIONS = ("-m", "orchestration_project.definitions")
WORKSPACE = ("-w", "workspace.yaml")
QUARANTINED = "a partition that is quarantined"
AGAIN_THE_SAME = ("all steps again", "from failure")
TABLES = {OTC: "finra_otc_weekly"} | {
    f"finra/{dataset.noun}": dataset.table.name for dataset in DATASETS
}
DERIVED = (GOLD, "finra/tier_week")


def product(tiers: str, *days: str) -> list[str]:
    return [f"{tier}|{day}" for tier in tiers.split() for day in days]


@dataclass
class Way:
    """A request: its asset, its number of runs, and the runs that loaded it."""

    asset: str
    partitions: Sequence[str]
    run_count: int
    quarantined: frozenset[str] = frozenset()
    runs: list[dg.DagsterRun] = field(default_factory=list)


@dataclass
class UiProgram:
    """The `ui` command over a database, with Dagster's instance and what was requested."""

    stack: Stack
    instance: dg.DagsterInstance
    url: str
    ways: dict[str, Way] = field(default_factory=dict)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port, timeout=60)
        headers = {"Content-Type": "application/json", "X-API-Key": self.stack.key}
        connection.request("POST", path, json.dumps(body), headers)
        answer = json.load(connection.getresponse())
        connection.close()
        return answer

    def backfill(self, **params: Any) -> str:
        """Launch a backfill as the UI does, and return its id."""
        body = {"query": BACKFILL, "variables": {"p": params}}
        return self.post("/graphql", body)["data"]["launchPartitionBackfill"]["backfillId"]

    def of_job(self, job: str, partitions: Sequence[str]) -> str:
        """Launch it as a job's page does."""
        selector = {"partitionSetName": f"{job}_partition_set", "repositorySelector": REPOSITORY}
        return self.backfill(selector=selector, partitionNames=partitions)

    def of_assets(self, assets: Sequence[Any], partitions: Sequence[str]) -> str:
        """Launch it as an asset's page does."""
        return self.backfill(assetSelection=assets, partitionNames=partitions)

    def again(self, run: dg.DagsterRun, strategy: str) -> str:
        params = {"parentRunId": run.run_id, "strategy": strategy}
        answer = self.post("/graphql", {"query": AGAIN, "variables": {"p": params}})
        return answer["data"]["launchRunReexecution"]["run"]["runId"]

    def run_and_check_status(self, *arguments: str, status: int = 0) -> None:
        """Run one of Dagster's own commands, which ends with a status."""
        home = {"DAGSTER_HOME": f"{self.stack.state_dir}/dagster"}
        environment = self.stack.environment | home
        ended, *said = programs.run(self.stack.state_dir, *arguments, **environment)
        assert ended == status, "".join(said)[-4000:]

    def runs_of(self, backfill_id: str) -> list[dg.DagsterRun]:
        """Return the runs of a backfill once it is over."""

        def ended() -> bool:
            found = self.instance.get_backfill(backfill_id)
            return found is not None and found.status.value.startswith("COMPLETED")

        programs.wait_for(ended, seconds=900)
        return list(self.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill_id})))

    def ended(self, run_id: str) -> dg.DagsterRun:
        def found() -> dg.DagsterRun | None:
            run = self.instance.get_run_by_id(run_id)
            return run if run and run.is_finished else None

        return programs.wait_for(found, seconds=600)

    def by_command(self) -> list[dg.DagsterRun]:
        """Return the runs of partitions that no backfill made."""
        return [
            run
            for run in self.instance.get_runs()
            if {PARTITION, RANGE} & run.tags.keys() and "dagster/backfill" not in run.tags
        ]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ui_program(request, tmp_path_factory) -> Iterator[UiProgram]:
    folder = tmp_path_factory.mktemp(request.param)
    url = databases.sqlite_url(folder / "state")
    environment = {"FINRA_FIRST_WEEK": "2025-11-17"}
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres_server")
        url = new_database(server, f"every_way_{folder.name}".lower())
        own = new_database(server, f"every_way_{folder.name}_dagster".lower())
        environment |= {"DATABASE_URL": url, "DAGSTER_DATABASE_URL": own}
    stack = Stack(folder, **environment)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STATE_DIR", str(stack.state_dir))
        for name, value in {**programs.DEMO, **environment}.items():
            patch.setenv(name, value)
        try:
            stack.start()
            with open_instance() as instance:
                yield load(UiProgram(stack, instance, url))
        finally:
            stack.kill_all()


def load(ui_program: UiProgram) -> UiProgram:
    """Ask in every way: first for what a source has, then for what is made of that."""
    pages = loads_by_pages(ui_program)
    by_commands(ui_program)
    for name, (way, backfill_id) in pages.items():
        way.runs = ui_program.runs_of(backfill_id)
        ui_program.ways[name] = way
    for name, (way, backfill_id) in what_follows(ui_program).items():
        way.runs = ui_program.runs_of(backfill_id)
        ui_program.ways[name] = way
    by_reexecution(ui_program)
    return ui_program


def loads_by_pages(ui_program: UiProgram) -> dict[str, tuple[Way, str]]:
    of_job = {
        "two tiers x two weeks": Way(OTC, product("T2 OTCE", "2026-01-12", "2026-01-19"), 2),
        "weeks of a tier, with a gap": Way(
            OTC, product("T1", "2025-12-08", "2025-12-15", "2025-12-22", "2026-01-05"), 2
        ),
        "tiers with a gap": Way(OTC, product("T1 OTCE", "2026-01-26"), 2),
        QUARANTINED: Way(
            OTC,
            product("T2 OTCE", "2025-11-24", "2025-12-01"),
            2,
            quarantined=frozenset({"T2|2025-12-01"}),
        ),
    }
    requested = {
        name: (way, ui_program.of_job("finra_otc_weekly", way.partitions))
        for name, way in of_job.items()
    }
    of_assets = {
        "assets: two tiers x two weeks, with a gap": Way(
            OTC, product("T2 OTCE", "2025-12-08", "2025-12-22"), 2
        ),
        "assets: all tiers of a week": Way(OTC, product("T1 T2 OTCE", "2025-12-29"), 1),
        "assets: weeks of two tiers": Way(
            OTC, [*product("T1", "2025-11-17", "2025-11-24", "2025-12-01"), "T2|2025-11-17"], 2
        ),
    }
    requested |= {
        name: (way, ui_program.of_assets(ASSETS, way.partitions)) for name, way in of_assets.items()
    }
    bonds = Way(BONDS, product("T1 T2", "2026-02-06", "2026-02-13"), 2)
    treasuries = Way(TREASURIES, ["2023-01-16", "2023-01-23", "2023-02-06"], 2)
    breadth = Way(BREADTH, ["2026-02-24", "2026-02-25", "2026-02-26"], 1)
    requested["bonds"] = (bonds, ui_program.of_job("finra_bond_trade_activity", bonds.partitions))
    requested["one dimension"] = (
        treasuries,
        ui_program.of_job("finra_treasury_weekly", treasuries.partitions),
    )
    requested["assets: one dimension"] = (
        breadth,
        ui_program.of_assets([{"path": BREADTH.split("/")}], breadth.partitions),
    )
    body = {"job": "finra_otc_weekly", "from": "2026-02-02", "to": "2026-02-09", "part": "T1"}
    of_api = Way(OTC, product("T1", "2026-02-02", "2026-02-09"), 1)
    requested["API"] = (of_api, ui_program.post("/api/v1/backfills", body)["backfill_id"])
    return requested


def by_commands(ui_program: UiProgram) -> None:
    job = ("-j", "finra_otc_weekly")
    tags = json.dumps({"dagster/partition": "T1|2026-01-12"})
    ends = json.dumps({RANGE: "T2|2026-01-05", RANGE_END: "OTCE|2026-01-05"})
    disagreeing = json.dumps(
        {
            "dagster/partition": "T1|2026-01-19",
            "dagster/partition/tier": "T2",
            "dagster/partition/week": "2026-01-26",
        }
    )
    ways = {
        "a tag": (
            Way(OTC, ["T1|2026-01-12"], 1),
            (*DAGSTER, "execute", *DEFINITIONS, *job, "--tags", tags),
        ),
        "a range of two dimensions": (
            Way(OTC, product("T2 OTCE", "2025-12-15"), 1),
            (
                *("dagster", "asset", "materialize", *DEFINITIONS),
                *("--select", '+key:"finra/symbol_week" or key:"finra/venue_week"'),
                *("--partition-range", "T2|2025-12-15...OTCE|2025-12-15"),
            ),
        ),
        "tags of a range": (
            Way(OTC, product("T2 OTCE", "2026-01-05"), 1),
            (*DAGSTER, "execute", *DEFINITIONS, *job, "--tags", ends),
        ),
    }
    for name, (way, command) in ways.items():
        before = {run.run_id for run in ui_program.by_command()}
        ui_program.run_and_check_status(*command)
        way.runs = [run for run in ui_program.by_command() if run.run_id not in before]
        ui_program.ways[name] = way
    command = (*DAGSTER, "execute", *DEFINITIONS, *job, "--tags", disagreeing)
    ui_program.run_and_check_status(*command, status=1)
    way = Way(OTC, ["T2|2026-01-26", "OTCE|2025-11-17"], 2)
    partitions = ("--partitions", ",".join(way.partitions), "--noprompt")
    ui_program.run_and_check_status(*DAGSTER, "backfill", *WORKSPACE, *job, *partitions)
    [newest, *_] = ui_program.instance.get_backfills(limit=1)
    way.runs = [ui_program.ended(run.run_id) for run in ui_program.runs_of(newest.backfill_id)]
    ui_program.ways["a command's backfill"] = way


def what_follows(ui_program: UiProgram) -> dict[str, tuple[Way, str]]:
    partitions = product("T2 OTCE", "2026-01-12", "2026-01-19")
    ways = {
        "finra_gold": Way(GOLD, partitions, 2),
        "finra_tier_week": Way("finra/tier_week", ["2025-12-22", "2025-12-29"], 1),
        "prices_daily": Way("prices/daily", ["2026-01-01", "2026-02-01"], 1),
    }
    return {name: (way, ui_program.of_job(name, way.partitions)) for name, way in ways.items()}


def by_reexecution(ui_program: UiProgram) -> None:
    first = ui_program.ways["two tiers x two weeks"]
    again = Way(OTC, first.partitions, 2)
    again.runs = [ui_program.ended(ui_program.again(run, "ALL_STEPS")) for run in first.runs]
    ui_program.ways["all steps again"] = again
    [failed] = [run for run in ui_program.ways[QUARANTINED].runs if not run.is_success]
    from_failure = Way(
        OTC, product("T2 OTCE", "2025-12-01"), 1, ui_program.ways[QUARANTINED].quarantined
    )
    from_failure.runs = [ui_program.ended(ui_program.again(failed, "FROM_FAILURE"))]
    ui_program.ways["from failure"] = from_failure


def expect_requested_partitions(ui_program: UiProgram, run: dg.DagsterRun) -> list[str]:
    """Return the partitions that the first line of a run's log names."""
    [first, *_] = [
        log.user_message
        for log in ui_program.instance.all_logs(run.run_id)
        if log.dagster_event is None
    ]
    count_text, _, keys = first.partition(": ")
    found = keys.split(", ")
    assert count_text == f"{len(found)} partitions requested"
    return found


def materialized_by(ui_program: UiProgram, run: dg.DagsterRun, asset: str) -> list[str]:
    """Return the partitions of an asset that a run materialized; dependents do not count."""
    made = dg.DagsterEventType.ASSET_MATERIALIZATION
    records = ui_program.instance.get_records_for_run(run.run_id, of_type=made).records
    found = [record.asset_materialization for record in records if record.asset_materialization]
    return [
        str(event.partition)
        for event in found
        if event.asset_key.to_user_string() == asset
        and not str(getattr(event.metadata.get("outcome"), "value", "")).startswith("derived: ")
    ]


def test_each_way_makes_as_many_runs_as_the_readme_says_and_each_loads_just_its_partitions(
    ui_program,
):
    assert len(ui_program.ways) > 3
    for name, way in ui_program.ways.items():
        requested = {run.run_id: expect_requested_partitions(ui_program, run) for run in way.runs}
        assert len(requested) == way.run_count, name
        counted = Counter(key for keys in requested.values() for key in keys)
        assert counted == Counter(way.partitions), name
        for run in way.runs:
            keys = requested[run.run_id]
            quarantined = way.quarantined & set(keys)
            assert run.is_success == (not quarantined), name
            made = materialized_by(ui_program, run, way.asset)
            assert sorted(made) == sorted(set(keys) - quarantined), name


def test_dagsters_status_the_tables_the_ledger_and_the_control_tower_agree(ui_program):
    ui_program.run_and_check_status(*DAGSTER, "execute", *DEFINITIONS, "-j", "operations_checks")
    for asset, table in TABLES.items():
        ways = [way for way in ui_program.ways.values() if way.asset == asset]
        requested = {key for way in ways for key in way.partitions}
        wanted = requested - {key for way in ways for key in way.quarantined}
        key = dg.AssetKey(asset.split("/"))
        assert ui_program.instance.get_materialized_partitions(key) == wanted
        of_table = select(landings.c.partition_key).where(landings.c.table_name == table)
        assert {each for (each,) in databases.rows(ui_program.url, of_table)} == wanted
    assert_ledger_agrees(ui_program)
    of_finra = select(operations_control_tower.c.rows_landed).where(
        operations_control_tower.c.domain == "finra",
        operations_control_tower.c.asset == "",
        operations_control_tower.c.window_hours == 24,
    )
    of_ledger = select(func.sum(operations_runs.c.rows_landed)).where(
        operations_runs.c.domain == "finra"
    )
    assert databases.rows(ui_program.url, of_finra) == databases.rows(ui_program.url, of_ledger)


def assert_ledger_agrees(ui_program: UiProgram) -> None:
    """Hold each run's row of the ledger to what loaded by that run, and to its outcome."""
    runs = operations_runs.c
    query = select(runs.run_id, runs.status, runs.rows_landed)
    ledger = {row[0]: row[1:] for row in databases.rows(ui_program.url, query)}
    counted = landings.c.rows_added + landings.c.rows_changed + landings.c.rows_unchanged
    by_run = select(landings.c.run_id, func.sum(counted)).group_by(landings.c.run_id)
    loaded = {run_id: int(rows) for run_id, rows in databases.rows(ui_program.url, by_run)}
    for name, way in ui_program.ways.items():
        for run in way.runs:
            status, rows_landed = ledger[run.run_id]
            assert status == run.status.value, name
            if way.asset in TABLES:
                assert rows_landed == loaded.get(run.run_id, 0), name
            if name not in AGAIN_THE_SAME:
                assert rows_landed > 0 or way.asset in DERIVED, name
