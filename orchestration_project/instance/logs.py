"""What runs and steps write: to the console as text or JSON, and into a file as it happens.

Dagster starts a `tail` for each of the two streams of each step, and a Python program for each of
these that ends it if the run dies: four processes, and the time it takes to end them again.
"""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any, TextIO

import dagster as dg
from dagster._core.execution.compute_logs import redirect_to_file

from orchestration_project.settings import load_shared_settings


class JsonLines(logging.Formatter):
    """One JSON object for a record: when, how severe, who said what, and about which run.

    The keys are those of docs/logs.md; what a record has not is left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return ``record`` as one line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            **_about(record),
            "exception": record.exc_text or None,
        }
        line = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(line, ensure_ascii=False)


def _about(record: logging.LogRecord) -> dict[str, Any]:
    """Return the message, and what Dagster knows of a record that was written in a run."""
    known: dict[str, Any] | None = getattr(record, "dagster_meta", None)
    if known is None:
        return {"message": record.getMessage()}
    event: dg.DagsterEvent | None = known["dagster_event"]
    tags = known["job_tags"] or {}
    asset = event.asset_key if event else None
    return {
        "message": record.getMessage() if event else known["orig_message"],
        "event": event.event_type.name if event else None,
        "run_id": known["run_id"],
        "job": known["job_name"],
        "domain": tags.get("domain") or (asset.path[0] if asset else None),
        "step": known["step_key"],
        "asset": asset.to_user_string() if asset else None,
        "partition": (event.partition if event else None) or tags.get("dagster/partition"),
    }


def write_in_log_format() -> None:
    """Let the console logger that Dagster gives to each run write in LOG_FORMAT.

    A logger of ours would be used only by runs whose config names it, and none does.
    """
    colored = dg.colored_console_logger.logger_fn

    def console(context: dg.InitLoggerContext) -> logging.Logger:
        logger = colored(context)
        for handler in logger.handlers:
            in_log_format(handler)
        return logger

    if colored.__module__ != __name__:
        dg.colored_console_logger._logger_fn = console


def in_log_format(handler: logging.Handler) -> logging.Handler:
    """Return ``handler``, writing JSON where LOG_FORMAT asks for it."""
    if load_shared_settings().log_format == "json":
        handler.setFormatter(JsonLines())
    return handler


SECONDS_BETWEEN_LOOKS = 0.1
BYTES_AT_ONCE = 2**16


@contextmanager
def mirrored(stream: TextIO, path: Path) -> Iterator[None]:
    """Send what is written to ``stream`` to the end of a file, and to where it would have gone.

    That holds for what child processes write, too. A stream that is no file is left alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    if _is_file(stream):
        with _shown(stream, path), redirect_to_file(stream, str(path)):
            yield
    else:
        yield


def _is_file(stream: TextIO) -> bool:
    try:
        stream.fileno()
    except OSError:  # as in a test, or a notebook
        return False
    return True


@contextmanager
def _shown(stream: TextIO, path: Path) -> Iterator[None]:
    """Show meanwhile what comes to the end of the file, and the last of it afterwards."""
    ended, console, start = Event(), os.dup(stream.fileno()), path.stat().st_size
    thread = Thread(target=_show, args=(path, start, console, ended), name="mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _show(path: Path, start: int, console: int, ended: Event) -> None:
    try:
        with os.fdopen(console, "wb") as shown, path.open("rb") as file:
            file.seek(start)
            is_last = False
            while not is_last:
                is_last = ended.wait(SECONDS_BETWEEN_LOOKS)
                while some := file.read(BYTES_AT_ONCE):
                    shown.write(some)
                shown.flush()
    except OSError:  # nobody looks at the console any more; the file has it all
        return
