"""`make observe`: rules and dashboards, against the metrics of a running stack.

Uses the stack of this machine if one runs; else starts one in a folder of its own, with a load and
a webhook delivery. Every expression must return series, in Prometheus and in VictoriaMetrics.
"""

import argparse
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

if __name__ == "__main__":  # started as a file: this folder is not a package
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deploy.observed_files import Query, every_query, static_problems

ROOT = Path(__file__).resolve().parent.parent

READY_SECONDS, SERIES_SECONDS = 600, 1200
SECONDS_BETWEEN_USES = 120
SECRET = secrets.token_urlsafe()
JOBS = {
    "finra_otc_weekly": "T1|2026-02-02",
    "prices_daily": "2026-01-01",
    "operations_checks": None,
}
"""Jobs that are started, and the partition of each."""

ABSENT = {"programs.yml: BridgeDisconnected"}
"""Queries about programs that a stack does not start, such as the bridge of MQTT."""

KEY = re.compile(r"\bop_[0-9a-f]+_[\w-]+")
"""The key that the first start shows, once all programs answer."""
LAUNCH = """mutation { launchRun(executionParams: {
  selector: {repositoryLocationName: "orchestration_project.definitions",
    repositoryName: "__repository__", jobName: "%s"},
  executionMetadata: {tags: [%s]}, runConfigData: {} })
  { __typename } }"""


@cache
def metrics_page() -> str:
    """Return the reference's page of metrics, as the code is now."""
    from tools.reference_pages.metrics import write

    return write()


def known_metrics() -> set[str]:
    """Return the metrics that the gateway serves."""
    names = re.findall(r"^\| `(orchestration_\w+)` \|", metrics_page(), re.MULTILINE)
    return {*names, *(name.removesuffix("_total") for name in names)}


def series_count(store: str, expression: str) -> int:
    """Return how many series an expression has now.

    Args:
        store: Address of Prometheus or VictoriaMetrics.
        expression: PromQL.

    Raises:
        ValueError: It refuses the expression; the text says why.
    """
    url = f"{store}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - http, our own
            return len(json.load(answer)["data"]["result"])
    except urllib.error.HTTPError as error:
        raise ValueError(json.load(error)["error"]) from error


def without_series(
    stores: Sequence[str], queries: list[Query], seconds: float, use: Callable[[], None]
) -> list[str]:
    """Return the queries that have no series within a time, and those that are refused.

    Args:
        stores: Addresses of Prometheus and of what it writes to; each must have series.
        queries: The queries; one that had series once is not asked again.
        seconds: The time.
        use: Uses the system; called every `SECONDS_BETWEEN_USES`, as short windows end.
    """
    left = [(store, query) for store in stores for query in queries]
    until, used_at, refused = time.monotonic() + seconds, float("-inf"), list[str]()
    while left and time.monotonic() < until:
        if time.monotonic() - used_at > SECONDS_BETWEEN_USES:
            use()
            used_at = time.monotonic()
        left, invalid = _asked(left)
        refused += invalid
        if left:
            time.sleep(3)
    missing = [f"{each.place}: no series of {each.text} in {store}" for store, each in left]
    return [*refused, *missing]


def _asked(wanted: list[tuple[str, Query]]) -> tuple[list[tuple[str, Query]], list[str]]:
    """Return the queries without series, by store, and why others are refused."""
    without, refused = list[tuple[str, Query]](), list[str]()
    for store, query in wanted:
        try:
            if not series_count(store, query.text):
                without.append((store, query))
        except ValueError as error:
            refused.append(f"{query.place}: {store}: {error}")
        except OSError:  # it has only just started
            without.append((store, query))
    return without, refused


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@contextmanager
def started_stack(
    folder: Path, names: list[str]
) -> Iterator[tuple[Sequence[str], Callable[[], None]]]:
    """Start a stack; yield the addresses of its stores of metrics, and what uses the stack.

    Args:
        folder: Of its state.
        names: Names of its ports.
    """
    ports = {name: free_port() for name in names}
    (folder / "webhooks.yaml").write_text(
        "sources: {observed: {scheme: github, job: events_webhooks}}\n"
    )
    environment = {
        **os.environ,
        "STATE_DIR": str(folder / "state"),
        "DATA_PROFILE": "demo",
        "WEBHOOKS_FILE": str(folder / "webhooks.yaml"),
        "WEBHOOK_SECRET_OBSERVED": SECRET,
        "STACK_PORTS": ",".join(f"{name}={port}" for name, port in ports.items()),
    }
    log = folder / "stack.log"
    command = [sys.executable, "-P", "-m", "orchestration_project", "stack"]
    with log.open("w") as out:
        process = subprocess.Popen(  # noqa: S603 - our own
            command, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        until = time.monotonic() + READY_SECONDS
        while not KEY.search(log.read_text()):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the stack did not start:\n{log.read_text()[-2000:]}")
            time.sleep(1)
        url_file = str(folder / "state" / "stack" / "secrets" / "DATABASE_URL.txt")
        evaluation = {**environment, "DATABASE_URL_FILE": url_file}
        yield stores_at(ports), partial(_use, log, ports, evaluation)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def stores_at(ports: Mapping[str, int]) -> Sequence[str]:
    """Return the addresses of a stack's Prometheus, and of VictoriaMetrics where it is there."""
    has_long_store = shutil.which("victoria-metrics") is not None
    names = ["prometheus", *(["victoriametrics"] if has_long_store else [])]
    return [f"http://127.0.0.1:{ports[name]}" for name in names]


def _use(log: Path, ports: dict[str, int], environment: dict[str, str]) -> None:
    """Start jobs and deliver a webhook, as users of the stack do; evaluate what was before."""
    evaluate = [sys.executable, "-P", "-m", "orchestration_project", "objectives", "evaluate"]
    subprocess.run(evaluate, env=environment, cwd=ROOT, capture_output=True)  # noqa: S603 - ours
    [key, *_] = KEY.findall(log.read_text())
    [certificate] = re.findall(r"Certificate to trust: (.*)", log.read_text())
    base = f"https://localhost:{ports['https']}"
    context = ssl.create_default_context(cafile=certificate)
    launches = [_launch(job, partition) for job, partition in JOBS.items()]
    json_headers = {"Content-Type": "application/json"}
    body = b'{"zen": "observed"}'
    mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    signed = {"X-Hub-Signature-256": f"sha256={mac}", "X-GitHub-Event": "ping"}
    for path, content, headers in (
        *(("/graphql", each, {**json_headers, "X-API-Key": key}) for each in launches),
        (
            "/hooks/observed",
            body,
            {**json_headers, **signed, "X-GitHub-Delivery": secrets.token_hex(8)},
        ),
    ):
        request = urllib.request.Request(base + path, content, headers)  # noqa: S310 - https
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310 - ours
            text = answer.read().decode()
        if path == "/graphql" and '"LaunchRunSuccess"' not in text:
            raise RuntimeError(f"a job was not launched: {text[:500]}")


def _launch(job: str, partition: str | None) -> bytes:
    tag = f'{{key: "dagster/partition", value: "{partition}"}}' if partition else ""
    return json.dumps({"query": LAUNCH % (job, tag)}).encode()


def observed_queries() -> list[Query]:
    """Return the queries that must have series in a running stack."""
    return [each for each in every_query() if not each.is_sql and each.place not in ABSENT]


def observe(stores: Sequence[str], use: Callable[[], None] = lambda: None) -> list[str]:
    """Return what is wrong, as stores of metrics of a running system see it."""
    return without_series(stores, observed_queries(), SERIES_SECONDS, use)


def main(arguments: list[str]) -> int:
    """Check files, then expressions; return 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prometheus", metavar="URL", help="one that scrapes a running system")
    parser.add_argument("--own", action="store_true", help="start a stack, even if one runs")
    parser.add_argument("--static", action="store_true", help="check the files alone")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the stack ends, too
    problems = static_problems(known_metrics())
    if not problems and not given.static:
        problems = (
            observe([given.prometheus.rstrip("/")])
            if given.prometheus
            else _observe_stack(is_own=given.own)
        )
    count = len(observed_queries())
    sys.stdout.write("\n".join([*problems, ""]) if problems else f"valid: {count} expressions\n")
    return int(bool(problems))


def _answers(prometheus: str) -> bool:
    try:
        return series_count(prometheus, "orchestration_scrape_ok") > 0
    except (OSError, ValueError):
        return False


def _observe_stack(*, is_own: bool) -> list[str]:
    """Look at the stack that runs on this machine, else at one of its own."""
    from orchestration_project.cli.stack_services import data_folder
    from orchestration_project.settings.deployment import STACK_PORTS

    stores = stores_at(STACK_PORTS)
    if is_own or not _answers(stores[0]):
        folder = Path(tempfile.mkdtemp(prefix="observe-"))
        try:
            with started_stack(folder, list(STACK_PORTS)) as (own, use):
                return observe(own, use)
        finally:
            shutil.rmtree(data_folder(folder / "state" / "stack" / "postgresql"), True)
            shutil.rmtree(folder, ignore_errors=True)
    return observe([each for each in stores if _answers(each)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
