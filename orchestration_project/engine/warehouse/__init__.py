"""The user's database: connections, migrations, and loading a delivery in one transaction.

A name is imported from its module at first use: a command that reads a row needs neither polars
nor Alembic, which take longer to import than it runs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestration_project.engine.warehouse.delivery import (
        AsFile,
        BatchFigures,
        Delivery,
        QuarantinedError,
        SupersededError,
        ValidatedBatch,
        WriteOutcome,
        WriteResult,
        prepare,
        prepare_all,
    )
    from orchestration_project.engine.warehouse.derived_partitions import (
        Derivation,
    )
    from orchestration_project.engine.warehouse.recorded import (
        LoadRecord,
        RecordedDelivery,
        RecordedPart,
    )
    from orchestration_project.engine.warehouse.target import (
        ScopeState,
        TableSpec,
        Transform,
        WriteTarget,
    )
    from orchestration_project.engine.warehouse.warehouse import (
        Warehouse,
    )

MODULES = {
    "AsFile": "delivery",
    "BatchFigures": "delivery",
    "Delivery": "delivery",
    "QuarantinedError": "delivery",
    "SupersededError": "delivery",
    "ValidatedBatch": "delivery",
    "WriteOutcome": "delivery",
    "WriteResult": "delivery",
    "prepare": "delivery",
    "prepare_all": "delivery",
    "Derivation": "derived_partitions",
    "RecordedDelivery": "recorded",
    "LoadRecord": "recorded",
    "RecordedPart": "recorded",
    "ScopeState": "target",
    "TableSpec": "target",
    "Transform": "target",
    "WriteTarget": "target",
    "Warehouse": "warehouse",
}
"""The module of each name."""

__all__ = [
    "AsFile",
    "BatchFigures",
    "Delivery",
    "Derivation",
    "LoadRecord",
    "QuarantinedError",
    "RecordedDelivery",
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


def __getattr__(name: str) -> Any:
    if name not in MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{MODULES[name]}"), name)
