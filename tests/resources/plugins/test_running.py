"""A plugin emits rows, which are loaded with history or not at all."""

import json
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest

from orchestration_project.domains.plugins.tables import plugins_rows_history
from orchestration_project.engine.warehouse import QuarantinedError
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.plugins.state import disable
from orchestration_project.tables.spine import outbox, rejects
from tests.resources.plugins.plugin_runner import HANG, PluginRunner, body

EMIT = body('run.emit("items", [("1", {"title": "First"}), ("2", {"title": run.config["name"]})])')
CONFIG = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


_RAW = """import os
def emit(table, rows):
    rows = [{"key": key, "payload": payload} for key, payload in rows]
    import json
    run._write(json.dumps({"type": "emit", "table": table, "rows": rows}))
emit"""


def test_rows_are_loaded_and_a_second_run_replaces_them(plugins: PluginRunner):
    plugins.add(EMIT, config_schema=CONFIG)
    first = plugins.run(config={"name": "Second"})
    assert plugins.payloads() == {"1": '{"title":"First"}', "2": '{"title":"Second"}'}
    assert first.metadata["rows_added"] == 2
    plugins.clock.at += timedelta(minutes=1)
    again = plugins.run(config={"name": "Changed"})
    assert again.metadata["rows_changed"] == 1
    assert plugins.payloads()["2"] == '{"title":"Changed"}'
    assert len(plugins.rows(plugins_rows_history)) == 1
    assert plugins.calls() == [("emit", "items", "allowed")] * 2


def test_a_row_set_without_rows_is_emptied_and_another_one_stays(plugins: PluginRunner):
    both = {"tables": ["items", "notes"]}
    schemas = {"items": {"type": "object"}, "notes": {"type": "object"}}
    code = body("for name in run.config['tables']:\n    run.emit(name, run.config['rows'])")
    config = {"type": "object"}
    plugins.add(code, permissions=both, row_schemas=schemas, config_schema=config)
    plugins.run(config={"tables": ["items", "notes"], "rows": [["1", {}]]})
    plugins.run(config={"tables": ["items"], "rows": []})
    assert [row.table_name for row in plugins.rows()] == ["notes"]


def test_partitions_have_rows_of_their_own(plugins: PluginRunner):
    plugins.add(body('run.emit("items", [("1", {"title": run.partition})])'))
    for day in ("2026-11-25", "2026-11-26"):
        plugins.run(partition=day)
    found = [(row.partition_key, row.payload) for row in plugins.rows()]
    assert found == [(day, f'{{"title":"{day}"}}') for day in ("2026-11-25", "2026-11-26")]


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ('("2", {"title": 2})', "title: "),
        ('("1", {"title": "again"})', "found it in line 1"),
        ('("2", {"title": chr(0xD800)})', "half characters"),
    ],
)
def test_a_rejected_row_holds_the_whole_run_back(plugins: PluginRunner, second: str, reason: str):
    rows = f'("1", {{"title": "x"}}), {second}'
    code = f'run.publish("plugins/rss/new", "1", {{}})\nrun.emit("items", [{rows}])'
    permissions = {"tables": ["items"], "topics": ["plugins/rss/new"]}
    plugins.add(body(code), permissions=permissions)
    if "0xD800" in second:
        plugins.add(body(code.replace("run.emit", _RAW)), permissions=permissions)
    with pytest.raises(QuarantinedError):
        plugins.run()
    assert not plugins.rows()
    assert not plugins.rows(outbox)
    [reject] = plugins.rows(rejects)
    assert reason in reject.reason
    assert reject.line_number == 2


def test_events_are_written_with_the_rows(plugins: PluginRunner):
    code = """run.emit("items", [("1", {"title": "x"})])
run.publish("plugins/rss/new", "1", {"title": "x"})
run.publish("plugins/rss/new", "1", {"title": "y"})"""
    permissions = {"tables": ["items"], "topics": ["plugins/rss/new"]}
    plugins.add(body(code), permissions=permissions)
    plugins.run()
    plugins.add(body(code.rpartition("\n")[2]), permissions=permissions)
    plugins.run()  # the latest event again
    found = [(row.topic, row.entity, row.version_number) for row in plugins.rows(outbox)]
    assert found == [("plugins/rss/new", "1", 1), ("plugins/rss/new", "1", 2)]
    assert json.loads(plugins.rows(outbox)[1].payload) == {"title": "y"}


def test_what_a_plugin_prints_and_logs_is_in_the_log(plugins: PluginRunner):
    plugins.add(body('print("printed")\nrun.log("logged", "warning")'))
    plugins.run()
    assert plugins.log == [
        ("warning", "plugin rss: logged"),
        ("info", "plugin rss: output of the plugin:\nplugin rss: printed"),
    ]


def test_a_plugin_sends_the_terminal_no_escape_and_forges_no_line(plugins: PluginRunner):
    forged = "a\x1b[2Jb\r\x9b1mc\u202ed\n2026-03-02 ERROR the database is lost"
    plugins.add(body(f"run.log({forged!r})\nprint({forged!r})"))
    plugins.run()
    text = "a\\x1b[2Jb\\r\\x9b1mc\\u202ed\nplugin rss: 2026-03-02 ERROR the database is lost"
    assert [line for _, line in plugins.log] == [
        f"plugin rss: {text}",
        f"plugin rss: output of the plugin:\nplugin rss: {text}",
    ]


def test_the_traceback_of_a_plugin_is_in_its_log_and_not_in_the_error(plugins: PluginRunner):
    plugins.add(body('raise ValueError("the secret place")'))
    with pytest.raises(ContractError) as failed:
        plugins.run()
    assert failed.value.found == "it exited with status 1: ValueError: the secret place"
    assert "plugin rss: ValueError: the secret place" in plugins.log[-1][1]


def test_pages_are_shown_without_html(plugins: PluginRunner):
    code = """run.page("markdown", "# <script>x</script> ![a](https://b.example/c)")
run.page("svg", "<svg/>")"""
    plugins.add(body(code), permissions={"pages": ["markdown", "svg"], "tables": ["items"]})
    text, image = plugins.run().page_texts
    assert "<" not in text
    assert "![" not in text
    assert image == "![page](data:image/svg+xml;base64,PHN2Zy8+)"


@pytest.mark.parametrize("state", ["added", "granted", "disabled", "refused"])
def test_only_an_enabled_plugin_runs(plugins: PluginRunner, state: str):
    plugins.add(EMIT, state=state, config_schema=CONFIG)
    with pytest.raises(ConfigurationError, match="not enabled"):
        plugins.run(config={"name": "x"})


def test_run_config_is_validated(plugins: PluginRunner):
    plugins.add(EMIT, config_schema=CONFIG)
    with pytest.raises(ConfigurationError, match="config_schema"):
        plugins.run(config={"name": 1})


def test_a_changed_or_deleted_folder_is_refused(plugins: PluginRunner, tmp_path: Path):
    stored = plugins.add(EMIT, config_schema=CONFIG)
    folder = tmp_path / "state" / "plugins" / stored.sha256
    (folder / "more.py").write_text("")
    with pytest.raises(ConfigurationError, match=r"more\.py added"):
        plugins.run(config={"name": "x"})
    folder.rename(tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="plugins add"):
        plugins.run(config={"name": "x"})


def test_a_plugin_that_is_disabled_while_it_runs_loads_nothing(plugins: PluginRunner):
    code = """run.emit("items", [("1", {"title": "x"})])
run.log("ready")
"""
    plugins.add(body(code + HANG))
    stopped_at: list[float] = []

    def disable_it(_level: str, text: str) -> None:
        if text == "plugin rss: ready":
            disable(plugins.warehouse, "rss", "admin", "enough", plugins.clock.now())
            stopped_at.append(monotonic())

    with pytest.raises(ContractError, match="stopped"):
        plugins.run(log=disable_it)
    assert not plugins.rows()
    assert monotonic() - stopped_at[0] < 20  # 1 s on a machine that does nothing else


def test_an_endpoint_reads_and_answers(plugins: PluginRunner):
    code = """if run.endpoint:
    run.answer([each["id"] for each in run.read("own", **run.parameters)])
else:
    run.emit("items", [("1", {"title": "x"})])"""
    query = {"name": "own", "table": "plugins", "columns": ["id"], "filters": ["state"]}
    permissions = {"tables": ["items"], "reads": [query], "endpoints": [{"name": "list"}]}
    plugins.add(body(code), permissions=permissions)
    assert plugins.call("list", state="enabled").body == ["rss"]
    assert plugins.call("list", state="added").body == []
    with pytest.raises(ConfigurationError, match="no endpoint"):
        plugins.call("other")


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    "code",
    ['run.emit("items", [("1", {"title": "x"})])', 'run.page("markdown", "x")', "pass"],
)
def test_an_endpoint_may_only_answer(plugins: PluginRunner, code: str):
    permissions = {"tables": ["items"], "pages": ["markdown"], "endpoints": [{"name": "list"}]}
    plugins.add(body(code), permissions=permissions)
    with pytest.raises(ContractError, match=r"refused what it requested|gave no answer"):
        plugins.call("list")
    assert not plugins.rows()
