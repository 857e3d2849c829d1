"""Messages from mosquitto to the inbox and the stream, against other clients and a limit."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.gateway import served
from benchmarks.measures.gateway import settings_of
from benchmarks.report import Line, at_least, at_most, line

PAYLOAD_BYTES = 300
STREAM_SECONDS = 1.0
_STARTS_SECONDS = 5.0
"""That bridge and reader need at most to start."""

SHARE_OF_EACH = 10
"""The subscriber that commits each message drains so much less: a tenth."""

CONFIG = """listener {port} 127.0.0.1
allow_anonymous true
max_inflight_messages 1000
max_queued_messages 0
"""


def mqtt(bench: Bench) -> list[Line]:
    """Messages a second from broker to inbox, on both databases."""
    count = bench.sizes.mqtt_messages
    with bench.rig.place() as place:
        postgresql = _sides(bench, str(place.database_url), count)
    with bench.rig.sqlite_place() as place:
        sqlite = _sides(bench, f"sqlite:///{place.state / 'inbox.sqlite'}", count)
    note = f"{count:,} messages of {PAYLOAD_BYTES} B that waited; window 1,000, fsync on"
    lines: list[Line] = []
    for name, found, least in (("PostgreSQL", postgresql, 0.6), ("SQLite", sqlite, 0.5)):
        bridged = found["bridge"]
        lines += [
            line(
                f"MQTT to the inbox, {name}, against a client that counts",
                "messages/s",
                bridged,
                found["count"],
                at_least(least),
                note=note,
            ),
            line(
                f"MQTT to the inbox, {name}, against a commit of each message",
                "messages/s",
                bridged,
                found["commit_each"],
                at_least(8),
                note=note,
            ),
        ]
    return lines


def mqtt_stream(bench: Bench) -> list[Line]:
    """Seconds from an arrival to a reader of the gateway's stream, at half of the bridge's rate."""
    with bench.rig.place() as place:
        settings = {**settings_of(place), "DATA_PROFILE": "real"}
        lines = [_streamed(bench, "PostgreSQL", settings)]
    with bench.rig.sqlite_place() as place:
        settings = {**settings_of(place), "DATA_PROFILE": "real"}
        return [*lines, _streamed(bench, "SQLite", settings)]


def _streamed(bench: Bench, name: str, settings: Mapping[str, str]) -> Line:
    count = bench.sizes.mqtt_messages
    key = call("benchmarks.ui_requests:prepared", settings, runs=1)["key"]
    worst: list[float] = []
    achieved: list[float] = []
    for _ in range(bench.repeats):
        with _broker() as port:
            _fill(port, ["bridge"], count)
            drain = partial(call, "benchmarks.mqtt_sides:bridge", settings, port=port)
            drained = drain(name="bridge", messages=count)
            after = drained["last"]
            with served(settings) as gateway, ThreadPoolExecutor() as together:
                reading = together.submit(
                    *(call, "benchmarks.mqtt_sides:follow", {}),
                    port=gateway,
                    key=key,
                    after=after,
                    messages=count,
                )
                bridging = together.submit(drain, name="bridge", messages=count, after=after)
                time.sleep(_STARTS_SECONDS)
                sent = call(
                    "benchmarks.mqtt_sides:publish",
                    {},
                    port=port,
                    per_second=count / drained["seconds"] / 2,
                    messages=count,
                )
                bridging.result()
                waits = sorted(reading.result()["seconds"])
        worst.append(waits[int(len(waits) * 0.99)])
        achieved.append(sent["per_second"])
    return line(
        f"an MQTT message from its arrival to a stream, {name}, p99, against {STREAM_SECONDS:g} s",
        "s",
        worst,
        [STREAM_SECONDS],
        at_most(1),
        note=f"{count:,} events, {median(achieved):,.0f}/s: half of what the bridge receives; "
        "all programs on the same cores",
    )


def _sides(bench: Bench, url: str, count: int) -> Mapping[str, list[float]]:
    """Return the messages a second of each side, in turns; each has a session of its own."""
    few = max(1, count // SHARE_OF_EACH)
    speeds: dict[str, list[float]] = {"count": [], "bridge": [], "commit_each": []}
    more: dict[str, dict[str, Any]] = {
        "count": {"messages": count},
        "bridge": {"messages": count, "url": url},
        "commit_each": {"messages": few, "url": url},
    }
    for _ in range(bench.repeats):
        with _broker() as port:
            _fill(port, list(speeds), count)
            for name, given in more.items():
                report = call(f"benchmarks.mqtt_sides:{name}", {}, port=port, name=name, **given)
                speeds[name].append(given["messages"] / report["seconds"])
    return speeds


@contextmanager
def _broker() -> Iterator[int]:
    """Run mosquitto on a free port."""
    program = shutil.which("mosquitto", path=f"{os.defpath}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise RuntimeError("mosquitto is not installed: apt-get install mosquitto")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with TemporaryDirectory() as folder:
        config = Path(folder) / "mosquitto.conf"
        config.write_text(CONFIG.format(port=port))
        with subprocess.Popen(
            [program, "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _await(port)
                yield port
            finally:
                process.kill()


def _await(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _fill(port: int, names: Sequence[str], count: int) -> None:
    """Let messages wait in the sessions of all names."""
    call("benchmarks.mqtt_sides:subscribe", {}, port=port, names=list(names))
    message = ("x" * PAYLOAD_BYTES + "\n").encode()
    subprocess.run(
        ["mosquitto_pub", "-p", str(port), "-q", "1", "-l", "-t", "tracker/events/tasks/1"],  # noqa: S607
        input=message * count,
        check=True,
    )
