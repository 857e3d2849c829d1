"""The user's database: connections, migrations, and landing a delivery in one transaction."""

from orchestration_project.engine.warehouse.delivery import (
    AsFile,
    Delivery,
    HeldBackError,
    ScopeState,
    StagedBatch,
    SupersededError,
    Transform,
    WriteOutcome,
    WriteRequest,
    WriteResult,
    WriteTarget,
)
from orchestration_project.engine.warehouse.difference import Derivation
from orchestration_project.engine.warehouse.landing import prepare, prepare_all
from orchestration_project.engine.warehouse.recorded import (
    Recorded,
    RecordedLanding,
    RecordedPart,
)
from orchestration_project.engine.warehouse.warehouse import Warehouse

__all__ = [
    "AsFile",
    "Delivery",
    "Derivation",
    "HeldBackError",
    "Recorded",
    "RecordedLanding",
    "RecordedPart",
    "ScopeState",
    "StagedBatch",
    "SupersededError",
    "Transform",
    "Warehouse",
    "WriteOutcome",
    "WriteRequest",
    "WriteResult",
    "WriteTarget",
    "prepare",
    "prepare_all",
]
