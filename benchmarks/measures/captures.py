"""Speed of small captures on a folder: packs against an object for each."""

import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.report import Line, at_least, line
from orchestration_project.connections.artifacts import FolderStore
from orchestration_project.engine.captures import Capture, Captures, unstored

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
BODY_BYTES = 20_000
AT_ONCE = 500
"""Captures of a batch, as many as a run of webhooks claims."""


def captures(bench: Bench) -> list[Line]:
    """Captures of 20 KB a second on a folder."""
    count = bench.sizes.small_captures
    sides = {"packs": lambda: _stored(count, AT_ONCE), "single": lambda: _stored(count, 1)}
    found = bench.in_turns(sides, at_most=3)
    speeds = {
        name: [count / each["seconds"] for each in repeats] for name, repeats in found.items()
    }
    return [
        line(
            "captures of 20 KB in packs, on a folder, against one by one",
            "captures/s",
            speeds["packs"],
            speeds["single"],
            at_least(10),
            note=f"{count:,} captures; {found['packs'][0]['objects']} objects",
        )
    ]


def _stored(count: int, at_once: int) -> dict[str, Any]:
    fetched = [_capture(number) for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="captures_") as folder:
        store = Captures(FolderStore(Path(folder)))
        begun = time.perf_counter()
        for start in range(0, count, at_once):
            store.keep_all(fetched[start : start + at_once], lambda _: {})
        seconds = time.perf_counter() - begun
        objects = sum(len(files) for _, _, files in os.walk(folder))
    return {"seconds": seconds, "objects": objects}


def _capture(number: int) -> Capture:
    """Return a page of text, which compresses to a third."""
    words = b"".join(b"%08d some words of a page; " % (number * 31 + each) for each in range(800))
    return unstored(words[:BODY_BYTES], url="u", request={}, fetched_at=EPOCH)
