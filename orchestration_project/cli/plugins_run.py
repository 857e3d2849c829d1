"""`make run-plugins`: the four examples of plugins against the embedded demos, offline.

The demo's shop has the feed, the demo's broker the projects; a receiver in this process stands for
Slack. Each example is added, granted and enabled as by an admin; all state is in STATE_DIR.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, select

from orchestration_project.catalog.web import shop_demo
from orchestration_project.cli import console
from orchestration_project.cli.execution import execute, failures
from orchestration_project.cli.mqtt_run import load as load_mqtt
from orchestration_project.domains.plugins.tables import plugins_calls, plugins_rows
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.running import call_endpoint
from orchestration_project.resources.plugins.state import read_plugin
from orchestration_project.resources.plugins.store import read_given
from orchestration_project.settings import Settings, load_settings, require_project_folder

EXAMPLES = Path("examples", "plugins")
IDS = ("rss", "csv_drop", "projects_board", "slack_digest")
CSV = "sku,price\nlamp-1,19.90\nlamp-2,24.50\n"


@contextmanager
def _serve_receiver(messages: list[str]) -> Iterator[str]:
    """Give host and port of a receiver that accepts messages as Slack does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            messages.append(json.loads(body)["text"])
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def copy_example(name: str, folder: Path, hosts: Mapping[str, str]) -> Path:
    """Copy an example, with other hosts, each a host and port of this machine without TLS."""
    example = folder / name
    shutil.copytree(require_project_folder() / EXAMPLES / name, example)
    manifest = example / "plugin.yaml"
    text = manifest.read_text(encoding="utf-8")
    for host, local in hosts.items():
        text = text.replace(f"hosts: [{{host: {host},", f'hosts: [{{host: "{local}", scheme: http,')
        text = text.replace(f"host: {host}}}", f'host: "{local}"}}')
    manifest.write_text(text, encoding="utf-8")
    return example


def main() -> int:
    """Add, grant, enable and run the examples; print what each did; return 0 if all succeeded."""
    settings = load_settings()
    if not settings.is_demo:
        raise ConfigurationError(
            "the demo of plugins writes into a database with real data",
            expected="the settings of the demo",
            remedy="start it by `make run-plugins`",
        )
    messages: list[str] = []
    with _serve_receiver(messages) as slack, TemporaryDirectory(prefix="plugins-") as folder:
        return int(not _run(settings, Path(folder), slack, messages))


def _run(settings: Settings, own: Path, slack: str, messages: list[str]) -> bool:
    """Run the examples; return whether all succeeded."""
    shop = shop_demo(WebSettings.of(settings)).url()
    urls = {"rss": f"{shop}/feed.rss", "slack_digest": f"http://{slack}/api/chat.postMessage"}
    hosts = {"example.org": urlsplit(shop).netloc, "slack.com": slack}
    drop = own / "drop"
    drop.mkdir(parents=True)
    (drop / "lamps.csv").write_text(CSV, encoding="utf-8")
    with open_warehouse(settings) as warehouse:
        edits = PluginEdits(settings, warehouse, open_store(settings))
        for name in IDS:
            folders = {"drop": str(drop)} if name == "csv_drop" else {}
            _admit(edits, copy_example(name, own, hosts), folders)
    if load_mqtt([]):  # the examples are enabled before: their jobs are made of their manifests
        return False
    day = open_clock(settings).today("UTC").isoformat()
    with open_instance() as instance, open_warehouse(settings) as warehouse:
        results = [
            execute(
                instance,
                f"plugins_{name}",
                partition=day if name == "slack_digest" else None,
                config=_build_config(name, urls),
            )
            for name in IDS
        ]
        for failure in failures(results):
            console.echo(failure)
        _print(settings, warehouse, messages)
        return all(result.success for result in results) and len(messages) == 1


def _admit(edits: PluginEdits, folder: Path, folders: Mapping[str, str]) -> None:
    """Add, grant and enable an example, with all that it asks for."""
    change = PluginChange("demo", Clock().now())
    files, _ = read_given(folder)
    stored, _ = edits.add(files, change, allow_unsigned=True)
    edits.grant(stored.id, change, given={}, folders=folders)
    edits.enable(stored.id, change)


def _build_config(name: str, urls: Mapping[str, str]) -> Mapping[str, Any]:
    config = {"url": urls[name]} if name in urls else {}
    return {"ops": {f"plugin_{name}": {"config": {"config": config}}}}


def _print(settings: Settings, warehouse: Warehouse, messages: Sequence[str]) -> None:
    """Print calls and rows of each example, what Slack received, and an endpoint's answer."""
    calls, rows = plugins_calls.c, plugins_rows.c
    called = select(calls.plugin, calls.kind, calls.target, calls.verdict, calls["bytes"])
    counted = select(rows.plugin, rows.table_name, func.count()).group_by(
        rows.plugin, rows.table_name
    )
    with warehouse.reading() as connection:
        records = connection.execute(called.order_by(calls["at"], calls.number)).all()
        loaded = connection.execute(counted.order_by(rows.plugin, rows.table_name)).all()
        board = read_plugin(connection, "projects_board")
    names = ("plugin", "call", "target", "verdict", "bytes")
    console.show_rows(
        [dict(zip(names, record, strict=True)) for record in records],
        {name: name for name in names},
    )
    for plugin, table, count in loaded:
        console.echo(f"{plugin} loaded {count} rows of {table}")
    for message in messages:
        console.echo(f"Slack received: {message}")
    answer = call_endpoint(
        board,
        "board",
        {},
        settings=settings,
        warehouse=warehouse,
        clock=Clock(),
        request_id="demo",
    )
    console.echo(f"the endpoint board answers: {json.dumps(answer.body)[:100]}…")


if __name__ == "__main__":
    sys.exit(main())
