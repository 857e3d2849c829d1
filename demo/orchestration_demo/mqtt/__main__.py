"""`python -m orchestration_demo.mqtt`: an MQTT broker on 127.0.0.1 with events."""

import argparse
import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestration_demo.clock import Clock, iso_time, time_in
from orchestration_demo.lifecycle import log_to, only_one, until_over
from orchestration_demo.memory import write_atomically
from orchestration_demo.mqtt.broker import Broker
from orchestration_demo.mqtt.events import Story
from orchestration_demo.mqtt.faults import Publication, with_faults
from orchestration_demo.mqtt.publisher import Publisher

FOLDER = "demo_mqtt"
EVENTS_BETWEEN_NOTES = 200


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options in ``arguments``, or on the command line."""
    parser = argparse.ArgumentParser(prog="orchestration_demo.mqtt", description=__doc__)
    add = parser.add_argument
    add("--state-dir", type=Path, required=True, help=f"what it keeps is in DIR/{FOLDER}")
    add("--seed", type=int, default=20_260_302, help="decides the events and their faults")
    add("--events", type=int, default=2_000, help="number of events")
    add("--events-per-second", type=float, default=0, help="rate; 0: as fast as possible")
    add("--window", type=int, default=20, help="messages sent without an acknowledgement")
    add("--idle-seconds", type=float, default=900.0, help="ends after so long without a packet")
    add("--clock-now", type=iso_time, help="an ISO time to advance from, instead of real time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until idle or stopped; return at once if another broker already runs."""
    options = parse_options(arguments)
    folder = options.state_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with only_one(folder) as is_first:
        if is_first:
            (folder / "server.json").unlink(missing_ok=True)
            log_to(folder / "server.log")
            asyncio.run(_serve(options, folder))


async def _serve(options: argparse.Namespace, folder: Path) -> None:
    broker = Broker(folder, window=options.window)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    shown = {
        "state_dir": str(options.state_dir),
        "seed": options.seed,
        "events": options.events,
        "idle_seconds": options.idle_seconds,
        "clock_now": options.clock_now,
    }
    announcement = {"url": f"mqtt://127.0.0.1:{port}", "pid": os.getpid(), "options": shown}
    publishing = asyncio.create_task(_publish(broker, port, options, folder))
    await until_over(broker, folder / "server.json", announcement, options.idle_seconds)
    publishing.cancel()
    server.close()
    await broker.close()


async def _publish(broker: Broker, port: int, options: argparse.Namespace, folder: Path) -> None:
    """Publish the events once a client has subscribed for good; go on where a kill left off."""
    await broker.subscribed.wait()
    progress = folder / "published.json"
    now = Clock(time_in(options.clock_now) if options.clock_now else None).now()
    known = _read(progress) or {"begun_at": now.isoformat(), "published": 0}
    begun_at = datetime.fromisoformat(known["begun_at"]).astimezone(UTC)
    story = Story(options.seed, options.events, begun_at)
    publication = with_faults(story)
    write_atomically(folder / "manifest.json", _manifest(story, publication))

    def note(count: int) -> None:
        is_done = count == len(publication.events)
        if is_done or count % EVENTS_BETWEEN_NOTES == 0:
            values = {"published": count, "is_done": is_done}
            write_atomically(progress, {"begun_at": known["begun_at"], **values})

    note(known["published"])
    publisher = Publisher(
        port,
        publication.events,
        begin=known["published"],
        lose_at=len(publication.events) // 2 if known["published"] == 0 else None,
        note=note,
    )
    await publisher.run(options.events_per_second)


def _manifest(story: Story, publication: Publication) -> Mapping[str, Any]:
    """Return what is expected of the events; nothing of the pipeline reads it."""
    return {
        "event_count": len(story.events),
        "message_count": len(publication.events),
        "duplicate_count": publication.duplicate_count,
        "reused_key_count": publication.reused_key_count,
        "poison_counts": publication.poison_counts,
        "state": story.state(),
    }


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


if __name__ == "__main__":
    main()
