"""Plugins that break the protocol, exceed a limit, or end wrongly."""

from typing import Any

from tests.plugins_hostile import HostilePlugin

RAW = """
import json
import os
import sys

sys.stdin.readline()


def line(**message):
    os.write(1, json.dumps(message).encode() + b"\\n")


def row(key):
    return {{"key": key, "payload": {{"got": "half"}}}}


line(type="emit", table="verdicts", rows=[row("first")])
{body}
"""


def _speech(name: str, body: str, says: str, **more: Any) -> HostilePlugin:
    """Return a plugin that emits a row, and then fails its run at each isolation level."""
    return HostilePlugin(
        name, RAW.format(body=body.strip()), namespaces="failed", says=says, **more
    )


SPEECH = (
    _speech("broken_json", r'os.write(1, b"{\n")' + '\nline(type="end")', "JSON"),
    _speech("not_utf8", r'os.write(1, b"\xff\xfe\n")' + '\nline(type="end")', "UTF-8"),
    _speech("half_a_line", r"""os.write(1, b'{"type": "end"')""", ""),
    _speech("no_object", r'os.write(1, b"[1]\n")' + '\nline(type="end")', ""),
    _speech("unknown_type", 'line(type="shell", command="id")\nline(type="end")', "type"),
    _speech(
        "deep",
        r"""os.write(1, b'{"type": "log", "message": ' + b"[" * 500 + b"]" * 500 + b"}\n")"""
        '\nline(type="end")',
        "32",
    ),
    _speech(
        "very_deep",
        r"""os.write(1, b"[" * 900_000 + b"\n")""" '\nline(type="end")',
        "",
    ),
    _speech("endless_line", 'while True:\n    os.write(1, b"x" * 65536)', "line"),
    _speech(
        "endless_lines",
        'while True:\n    line(type="log", level="info", message="x" * 1000)',
        "",
        budget={"seconds": 3},
    ),
    _speech(
        "same_id",
        'line(type="read", id=1, query="projects", parameters={})\n'
        'line(type="read", id=1, query="projects", parameters={})\nline(type="end")',
        "id",
        permissions={
            "reads": [
                {
                    "name": "projects",
                    "table": "mqtt_projects",
                    "columns": ["project_id"],
                    "max_rows": 10,
                }
            ]
        },
    ),
    _speech(
        "too_many_rows",
        "for number in range(20):\n"
        '    line(type="emit", table="verdicts", rows=[row(f"{number}-{n}") for n in range(10)])\n'
        'line(type="end")',
        "rows",
    ),
    _speech(
        "wrong_rows",
        'line(type="emit", table="verdicts", rows=[{"key": "b", "payload": {"got": 1}}])\n'
        'line(type="end")',
        "",
    ),
    _speech(
        "keys_twice",
        'line(type="emit", table="verdicts", rows=[row("first")])\nline(type="end")',
        "",
    ),
    _speech("no_end", "pass", "end"),
    _speech("exits_3", 'line(type="end")\nsys.stdout.flush()\nos._exit(3)', "3"),
    _speech("raises", 'raise RuntimeError("planted error")', "status 1"),
    _speech("kills_itself", "os.kill(os.getpid(), 9)", ""),
    _speech("computes_forever", "while True:\n    pass", "second", budget={"seconds": 2}),
    _speech(
        "sleeps_forever",
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)",
        "second",
        budget={"seconds": 2},
    ),
    _speech(
        "floods_log",
        'while True:\n    os.write(2, b"x" * 65536)',
        "second",
        budget={"seconds": 2},
    ),
    _speech(
        "leaves_children",
        "import time\n"
        "for _ in range(3):\n"
        "    if not os.fork():\n"
        "        os.setsid()\n"
        "        break\n"
        "time.sleep(600)",
        "not permitted",
        budget={"seconds": 2},
    ),
)
"""None loads its first row: a run loads all of its rows or none."""
