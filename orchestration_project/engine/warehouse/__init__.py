"""The user's database: connections, migrations, and landing a delivery in one transaction."""

from orchestration_project.engine.warehouse.delivery import (
    AsFile,
    Delivery,
    Ended,
    HeldBackError,
    Landed,
    Maker,
    Order,
    Prepared,
    Ready,
    ScopeState,
    SupersededError,
)
from orchestration_project.engine.warehouse.deriving import Derivation
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
    "Ended",
    "HeldBackError",
    "Landed",
    "Maker",
    "Order",
    "Prepared",
    "Ready",
    "Recorded",
    "RecordedLanding",
    "RecordedPart",
    "ScopeState",
    "SupersededError",
    "Warehouse",
    "prepare",
    "prepare_all",
]
