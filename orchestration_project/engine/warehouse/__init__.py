"""The user's database: connections, migrations, and landing a delivery in one transaction."""

from orchestration_project.engine.warehouse.delivery import (
    AsFile,
    BatchFigures,
    Delivery,
    HeldBackError,
    SupersededError,
    ValidatedBatch,
    WriteOutcome,
    WriteResult,
    prepare,
    prepare_all,
)
from orchestration_project.engine.warehouse.difference import Derivation
from orchestration_project.engine.warehouse.recorded import (
    RecordedDelivery,
    RecordedLanding,
    RecordedPart,
)
from orchestration_project.engine.warehouse.target import (
    ScopeState,
    TableSpec,
    Transform,
    WriteTarget,
)
from orchestration_project.engine.warehouse.warehouse import Warehouse

__all__ = [
    "AsFile",
    "BatchFigures",
    "Delivery",
    "Derivation",
    "HeldBackError",
    "RecordedDelivery",
    "RecordedLanding",
    "RecordedPart",
    "ScopeState",
    "SupersededError",
    "TableSpec",
    "Transform",
    "ValidatedBatch",
    "Warehouse",
    "WriteOutcome",
    "WriteResult",
    "WriteTarget",
    "prepare",
    "prepare_all",
]
