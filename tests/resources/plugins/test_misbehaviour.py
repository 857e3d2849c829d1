"""Plugins that break the protocol or their budget: the run fails with a reason, loads nothing."""

from typing import Any

import pytest

from orchestration_project.errors import ContractError
from tests.resources.plugins.plugin_runner import HANG, PluginRunner, body

ROW = '{"type": "emit", "table": "items", "rows": [{"key": "1", "payload": {"title": "x"}}]}'
RAW = f"import sys\nsys.stdin.readline()\nprint('''{ROW}''')\n"
END = 'print(\'{"type": "end"}\', flush=True)\n'


def expect_refusal(plugins: PluginRunner, code: str, **changes: Any) -> str:
    """Run a plugin that is to fail; return why it did."""
    plugins.add(code, **changes)
    with pytest.raises(ContractError) as error:
        plugins.run()
    assert not plugins.rows()
    assert error.value.context["plugin"] == "rss"
    assert error.value.remedy
    return str(error.value)


def test_raw_lines_without_the_library_are_served(plugins: PluginRunner):
    plugins.add(RAW + END)
    plugins.run()
    assert len(plugins.rows()) == 1


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("print('{')", "JSON object"),
        ("print('[]')", "JSON object"),
        ("print('hello')", "JSON object"),
        ('print(\'{"type": "shell"}\')', "invalid type"),
        ("print('{\"type\": [1]}')", "invalid type"),
        ("print('[' * 100000 + ']' * 100000)", "levels of nesting"),
        ("print('{\"type\": \"log\", \"a\": ' + '[' * 40 + ']' * 40 + '}')", "levels of nesting"),
        ('print(\'{"type": "log", "message": NaN}\')', "NaN"),
        ('print(\'{"type": "page", "format": "svg", "content": 1}\')', "content of page"),
        ('print(\'{"type": "end", "more": 1}\')', "expected no other"),
        ("print('x' * 2_000_000)", "at most 1,048,576 bytes"),
        ("sys.stdout.buffer.write(b'\\xff\\n')", "not UTF-8"),
        ('print(\'{"type": "end"}\'); print(\'{"type": "end"}\')', "after the message end"),
        ("print('{\"type\": \"end\"', end='')", "line break"),
        ('print(\'{"type": "read", "id": 0, "query": "a"}\')', "id of read"),
        ('print(\'{"type": "emit", "table": "items", "rows": [{"key": ""}]}\')', "rows of emit"),
    ],
)
def test_an_invalid_line_breaks_the_protocol(plugins: PluginRunner, line: str, reason: str):
    found = expect_refusal(plugins, f"{RAW}{line}\n")
    assert "broke the protocol" in found
    assert reason in found
    assert plugins.violations() == ["protocol"]


def test_ids_of_calls_only_grow(plugins: PluginRunner):
    call = 'print(\'{"type": "fetch", "id": 1, "url": "x"}\', flush=True)\n'
    found = expect_refusal(plugins, f"{RAW}{call}{call}")
    assert "invalid id" in found


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (RAW, "ended without the message end"),
        (f"{RAW}{END}sys.exit(3)", "exited with status 3"),
        ("raise ValueError('at import')", "ValueError: at import"),
        ("def", "SyntaxError"),
        (f"{RAW}import os\nos.abort()", "killed by SIGABRT"),
        (f"{RAW}import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        (body("raise ValueError('in the run')"), "ValueError: in the run"),
    ],
)
def test_another_end_fails_the_run(plugins: PluginRunner, code: str, reason: str):
    assert reason in expect_refusal(plugins, code)
    assert plugins.violations() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "budget", "permission"),
    [
        ("run.emit('items', ((str(i), {'title': 'x'}) for i in range(11)))", {"rows": 10}, "rows"),
        ("run.log('x' * 5000)", {"bytes": 4000}, "bytes"),
        ("while True: run.log('x' * 50000)", {}, "bytes"),
        ("run.fetch('http://127.0.0.1:9/')", {"requests": 0}, "requests"),
        ("held = bytearray(10**9)", {"memory_mib": 64}, "memory_mib"),
        ("while True: pass", {"seconds": 1}, "seconds"),
        (HANG, {"seconds": 1}, "seconds"),
    ],
)
def test_a_budget_is_never_exceeded(
    plugins: PluginRunner, code: str, budget: dict[str, int], permission: str
):
    hosts = [{"host": "127.0.0.1:9", "scheme": "http"}]
    code = body(f"run.emit('items', [('0', {{'title': 'x'}})])\n{code}")
    found = expect_refusal(
        plugins, code, budget=budget, permissions={"hosts": hosts, "tables": ["items"]}
    )
    assert f"budget.{permission}" in found
    assert plugins.violations() == [f"budget.{permission}"]


def test_output_beyond_the_log_is_dropped(plugins: PluginRunner):
    plugins.add(body("print('x' * 1_000_000)"))
    plugins.run()
    [(_, text)] = plugins.log
    assert len(text) < 70_000


@pytest.mark.slow
def test_a_plugin_that_never_reads_its_answers_is_ended(plugins: PluginRunner):
    query = {"name": "own", "table": "plugins", "columns": ["manifest"]}
    lines = "i = 0\nwhile True:\n    i += 1\n"
    call = 'print(\'{"type": "read", "query": "own", "id": %d}\' % i, flush=True)'
    code = f"{RAW}{lines}    {call}\n"
    permissions = {"reads": [query], "tables": ["items"]}
    found = expect_refusal(plugins, code, permissions=permissions, budget={"seconds": 2})
    assert "budget.seconds" in found
