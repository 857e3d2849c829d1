"""The ledger of runs: what Dagster ran, in tables of ours that outlive Dagster's own records.

A name is imported from its module at first use: a command that lists approvals needs no Dagster.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration_project.services.ledger.following import follow, reconcile, record_runs
    from orchestration_project.services.ledger.recording import Ledger, Written

MODULES = {
    "Ledger": "recording",
    "Written": "recording",
    "follow": "following",
    "reconcile": "following",
    "record_runs": "following",
}
"""The module of each name."""

__all__ = ["Ledger", "Written", "follow", "reconcile", "record_runs"]


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
