"""Sides of the measures of plugins: their start against bare Python, and rows through the pipe."""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from orchestration_project.domains.plugins.protocol import Emit, Row
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.child import PluginProcess
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.isolation import MIB, ChildSpec, isolation_level
from orchestration_project.resources.plugins.loading import Emissions
from orchestration_project.resources.plugins.running import run_plugin
from orchestration_project.resources.plugins.state import StoredPlugin
from orchestration_project.settings import load_settings

FIRST_LINE = """import json, sys
print(json.dumps({"type": "log", "level": "info", "message": "started"}), flush=True)
sys.stdin.read()
"""
ROWS = """from plugin import start

def rows(count, title):
    for number in range(count):
        yield f"key-{number:08d}", {"title": f"{title} {number}", "number": number, "is_new": True}

with start() as run:
    run.emit("items", rows(run.config["count"], run.config["title"]))
"""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "number": {"type": "integer"},
        "is_new": {"type": "boolean"},
    },
    "required": ["title", "number", "is_new"],
    "additionalProperties": False,
}


def starts(folder: str, count: int) -> dict[str, Any]:
    """Return the seconds from start to first line of plugins, and those of bare Python."""
    level = isolation_level(load_settings())
    (Path(folder) / "main.py").write_text(FIRST_LINE)
    spec = ChildSpec(Path(folder), "main.py", 256 * MIB, 60)
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(count):  # in turns, as the machine may be at other work for a while
        started = time.perf_counter()
        with PluginProcess(level, spec, seconds=60) as process:
            process.read_line()
            ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", "pass"], check=True)
        bare.append(time.perf_counter() - started)
    return {"ours": median(ours), "bare": median(bare), "level": level}


def loads(row_count: int) -> dict[str, Any]:
    """Return rows a second of a run of a plugin, and of the same load from a list in memory."""
    settings = load_settings()
    store, clock = open_store(settings), open_clock(settings)
    with open_warehouse(settings) as warehouse:
        edits = PluginEdits(settings, warehouse, store)
        change = PluginChange("bench", clock.now())
        captures = Captures(store)
        through_pipe = _added(edits, change, "piped", row_count)
        given = {"count": row_count, "title": "Title"}
        started = time.perf_counter()
        run_plugin(
            through_pipe,
            settings=settings,
            warehouse=warehouse,
            captures=captures,
            clock=clock,
            run_id="piped",
            config=given,
        )
        piped = time.perf_counter() - started
        alone = _added(edits, change, "alone", row_count)
        lines = [
            json.dumps(
                {
                    "key": f"key-{number:08d}",
                    "payload": {"title": f"Title {number}", "number": number, "is_new": True},
                }
            )
            for number in range(row_count)
        ]
        started = time.perf_counter()
        emissions = Emissions(alone.manifest, "", settings.scratch_path)
        emissions.read_states(warehouse, ["items"])
        emissions.add_rows(Emit("items", [Row(**json.loads(each)) for each in lines]))
        emissions.load(warehouse, captures, clock, run_id="alone")
        without = time.perf_counter() - started
    return {"piped": row_count / piped, "alone": row_count / without}


def _added(edits: PluginEdits, change: PluginChange, name: str, rows: int) -> StoredPlugin:
    manifest = {
        "id": name,
        "version": "1.0.0",
        "publisher": "bench",
        "kind": "source",
        "entry": "main.py",
        "requires": ">=0.1",
        "permissions": {"tables": ["items"]},
        "budget": {"seconds": 600, "rows": rows, "bytes": 2**31, "memory_mib": 256},
        "config_schema": {"type": "object"},
        "row_schemas": {"items": SCHEMA},
    }
    files = {"plugin.yaml": json.dumps(manifest).encode(), "main.py": ROWS.encode()}
    edits.add(files, change, allow_unsigned=True)
    edits.grant(name, change, given={}, folders={})
    return edits.enable(name, change, share=1)
