"""The ledger of runs: what Dagster ran, in tables of ours that outlive Dagster's own records."""

from orchestration_project.services.ledger.following import follow, reconcile
from orchestration_project.services.ledger.recording import Ledger, Written

__all__ = ["Ledger", "Written", "follow", "reconcile"]
