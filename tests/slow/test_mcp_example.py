"""The MCP server of the examples, asked by the client of the official SDK, over a loaded demo."""

import json
import sys
from collections.abc import Iterator

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.types import CallToolResult, TextContent

from orchestration_project.settings import PROJECT_ROOT
from tests import programs
from tests.expecting import expect_type

pytestmark = pytest.mark.slow

SERVER = PROJECT_ROOT / "examples" / "mcp" / "server.py"
CLOCK = {"DEMO_CLOCK_NOW": "2026-03-02T18:00:00+00:00"}
WEEK = "T1|2026-02-02"

TOOLS = {
    *("attention", "changes", "columns", "explain", "lineage"),
    *("partitions", "rows", "runs", "status", "tables"),
}


def answer_of(found: CallToolResult):
    [content] = [expect_type(part, TextContent) for part in found.content]
    return content.text if found.is_error else json.loads(content.text)


class Asked:
    """A gateway over a loaded week, and the MCP server that asks it with a key."""

    def __init__(self, folder):
        self.state = folder / "state"
        port, output = programs.free_port(), folder / "ui.log"
        self.run("load", "finra_otc_weekly", WEEK)
        command = ("orchestration_project", "ui", "--port", str(port))
        self.process = programs.start_into(output, self.state, *command, **CLOCK)
        programs.wait_for(lambda: "op_" in output.read_text(), seconds=240)
        created = self.run("keys", "create", "--role", "viewer", "--owner", "an assistant")
        self.url, self.key = f"http://127.0.0.1:{port}", programs.key_in(created)

    def run(self, *arguments: str) -> str:
        return programs.run_without_failure(
            self.state, "orchestration_project", *arguments, **CLOCK
        )

    def ask(self, tool: str, **arguments):
        """Return what a tool answers, or the text of its error."""
        [answer] = self.ask_all([(tool, arguments)])
        return answer

    def ask_all(self, calls, key=None):
        async def ask():
            environment = {"GATEWAY_URL": self.url, "GATEWAY_KEY": key or self.key}
            command = StdioServerParameters(
                command=sys.executable, args=[str(SERVER)], env=environment
            )
            async with Client(command) as client:
                return [await client.call_tool(name, given) for name, given in calls]

        return [answer_of(found) for found in anyio.run(ask)]


@pytest.fixture(scope="module")
def requested(tmp_path_factory) -> Iterator[Asked]:
    requested = Asked(tmp_path_factory.mktemp("mcp"))
    yield requested
    requested.process.terminate()
    requested.process.wait(timeout=programs.PATIENCE_SECONDS)


def test_every_tool_only_reads(requested):
    async def list_tools():
        command = StdioServerParameters(
            command=sys.executable, args=[str(SERVER)], env={"GATEWAY_KEY": "x"}
        )
        async with Client(command) as client:
            return (await client.list_tools()).tools

    tools = anyio.run(list_tools)
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)


def test_status_tables_partitions_and_lineage_are_those_of_the_loaded_week(requested):
    # The daemon evaluates a load that was done before its start.
    programs.wait_for(lambda: requested.ask("status")["control_tower"]["rows"], seconds=240)
    status, attention, tables, columns, partitions, lineage, runs = requested.ask_all(
        [
            ("status", {}),
            ("attention", {}),
            ("tables", {}),
            ("columns", {"table": "finra_otc_weekly"}),
            ("partitions", {"asset_key": "finra/otc_weekly"}),
            ("lineage", {"asset_key": "finra/otc_weekly"}),
            ("runs", {}),
        ]
    )
    assert "finra" in json.dumps(status["control_tower"])
    assert status["attention_by_kind"] == attention["by_kind"]
    assert "finra_otc_weekly" in {table["name"] for table in tables["tables"]}
    assert "share_quantity" in {column["name"] for column in columns["columns"]}
    assert partitions["partitionStats"]["numMaterialized"] == 1
    assert lineage["dependencyKeys"] == ["finra/otc_weekly_staged"]
    assert "finra/symbol_week" in lineage["dependedByKeys"]
    assert "finra_otc_weekly" in {run["job"] for run in runs["runs"]}


def test_rows_are_those_of_now_and_of_an_earlier_time_and_a_number_is_explained(requested):
    where = ["tier=T1", "week_start=2026-02-02"]
    few, before = requested.ask_all(
        [
            ("rows", {"table": "finra_otc_weekly", "where": where, "limit": 3}),
            ("rows", {"table": "finra_otc_weekly", "as_of": "2026-03-01T00:00:00Z"}),
        ]
    )
    assert len(few["rows"]) == 3
    assert few["is_whole"] is False
    assert before == {"rows": [], "is_whole": True}
    [row] = requested.ask("rows", table="finra_symbol_week", where=where, limit=1)["rows"]
    key = f"{WEEK}|{row['symbol']}"
    found = requested.ask(
        "explain", table="finra_symbol_week", key=key, column="ats_share_quantity"
    )
    assert found["is_equal"] is True
    assert found["published"] == row["ats_share_quantity"]
    times = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-03T00:00:00Z"}
    changed = requested.ask("changes", table="finra_otc_weekly", limit=2, **times)
    assert [row["change"] for row in changed["rows"]] == ["added", "added"]


def test_what_is_wrong_is_named_to_the_assistant(requested):
    assert "no_such" in requested.ask("rows", table="no_such")
    assert "no_such" in requested.ask("columns", table="no_such")
    assert "no/such" in requested.ask("partitions", asset_key="no/such")
    [refused] = requested.ask_all([("tables", {})], key="op_000000000000_" + 43 * "x")
    assert "401" in refused
