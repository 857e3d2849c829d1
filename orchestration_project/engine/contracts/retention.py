"""Retention rules, by age and need, for Dagster's logs and for artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from orchestration_project.engine.contracts import lazy_polars as pl

FORGOTTEN_EVENTS = frozenset(
    {
        *("STEP_OUTPUT", "STEP_INPUT", "STEP_FAILURE", "STEP_START", "STEP_SUCCESS"),
        *("STEP_SKIPPED", "STEP_WORKER_STARTING", "STEP_WORKER_STARTED", "STEP_UP_FOR_RETRY"),
        *("STEP_RESTARTED", "STEP_EXPECTATION_RESULT"),
        *("RESOURCE_INIT_STARTED", "RESOURCE_INIT_SUCCESS", "RESOURCE_INIT_FAILURE"),
        *("OBJECT_STORE_OPERATION", "ASSET_STORE_OPERATION", "LOADED_INPUT", "HANDLED_OUTPUT"),
        *("ENGINE_EVENT", "HOOK_COMPLETED", "HOOK_ERRORED", "HOOK_SKIPPED", "LOGS_CAPTURED"),
        *("PIPELINE_DEQUEUED", "ALERT_START", "ALERT_SUCCESS", "ALERT_FAILURE"),
    }
)
"""Dagster's events about the steps of a run; log lines have no type, and are deleted too.

All others stay, those that Dagster may add some day as well: materializations, observations, what
was planned and did not come, checks, and each change of a run's status. From these Dagster derives
the state of a partition, the result of a check, and when a run began and ended.
"""


def find_prunable(
    changed: Mapping[str, datetime], recorded: Mapping[str, datetime], before: datetime
) -> list[str]:
    """Return those of some finished runs whose logs may go.

    Args:
        changed: When Dagster last changed each of the runs.
        recorded: As of which change the end of each run is in the ledger, which keeps what matters.
        before: Runs that changed at this time or later keep their logs.
    """
    return [
        run_id
        for run_id, at in changed.items()
        if at < before and run_id in recorded and recorded[run_id] >= at
    ]


CAPTURED, STAGED, PICTURE, OTHER = "captured bytes", "staged rows", "picture", "other"
EXPORTED, SET_ASIDE = "exported rows", "set aside by repairs"
COMPUTE_LOGS, EVIDENCE, PLAN = "compute logs", "evidence", "plan"
WEBHOOK_BODIES = "webhook bodies"

KINDS = {
    "blobs": CAPTURED,
    "staged": STAGED,
    "plots": PICTURE,
    "exports": EXPORTED,
    "damaged": SET_ASIDE,
    "compute_logs": COMPUTE_LOGS,
    "evidence": EVIDENCE,
    "plans": PLAN,
}
"""The first folder of an artifact's name → what it is."""


class Compared(NamedTuple):
    """Differences of store and tables: missing, of another size, or unreferenced."""

    missing: list[str]
    resized: list[str]
    unnamed: list[str]


def kind_of(name: str) -> str:
    """Return the kind of the artifact with this name."""
    return KINDS.get(name.partition("/")[0], OTHER)


def compare_sizes(named: Mapping[str, int], stored: Mapping[str, int]) -> Compared:
    """Compare both ways; names → sizes as stored, bytes."""
    return Compared(
        missing=sorted(set(named) - set(stored)),
        resized=sorted(name for name in named if stored.get(name, named[name]) != named[name]),
        unnamed=sorted(set(stored) - set(named)),
    )


def sum_by_kind(stored: Iterable[tuple[str, int]]) -> pl.DataFrame:
    """Return how many artifacts of each kind there are, and what they take as stored."""
    frame = pl.DataFrame(
        [(kind_of(name), size) for name, size in stored],
        {"kind": pl.String, "byte_count": pl.Int64},
        orient="row",
    )
    totals = frame.group_by("kind").agg(
        pl.len().cast(pl.Int64).alias("artifact_count"), pl.col("byte_count").sum()
    )
    return totals.select("kind", "artifact_count", "byte_count").sort("kind")
