"""Partition definitions by domain, and the runner that takes a run's work piece by piece."""

from orchestration_project.partitions.finra import (
    dataset_partitions,
    finra_tier_weeks,
    finra_weeks,
    first_finra_week,
)
from orchestration_project.partitions.known import (
    KNOWN_FROM,
    REPORTED_LATE,
    UNCHANGED,
    EarlierMetadata,
    Known,
    earlier_metadata,
)
from orchestration_project.partitions.loads import BatchLoad, Load, OneByOne, Outcome
from orchestration_project.partitions.prices import first_price_month, price_months
from orchestration_project.partitions.replays import OF_REPLAYS, ReplayConfig, refuse_strange
from orchestration_project.partitions.runner import (
    DID_NOT_LAND,
    PROGRESS,
    SECONDS_TO_NEXT_ATTEMPT,
    Pieces,
    Report,
    Told,
    asked_keys,
    each_partition,
    each_piece,
    landed_before,
)

__all__ = [
    "DID_NOT_LAND",
    "KNOWN_FROM",
    "OF_REPLAYS",
    "PROGRESS",
    "REPORTED_LATE",
    "SECONDS_TO_NEXT_ATTEMPT",
    "UNCHANGED",
    "BatchLoad",
    "EarlierMetadata",
    "Known",
    "Load",
    "OneByOne",
    "Outcome",
    "Pieces",
    "ReplayConfig",
    "Report",
    "Told",
    "asked_keys",
    "dataset_partitions",
    "each_partition",
    "each_piece",
    "earlier_metadata",
    "finra_tier_weeks",
    "finra_weeks",
    "first_finra_week",
    "first_price_month",
    "landed_before",
    "price_months",
    "refuse_strange",
]
