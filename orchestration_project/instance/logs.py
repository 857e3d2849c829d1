"""What runs write to the console: as Dagster does, or one JSON object a line."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import dagster as dg

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
        told = {name: value for name, value in fields.items() if value is not None}
        return json.dumps(told, ensure_ascii=False)


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
