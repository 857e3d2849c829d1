"""The fault matrix as data: each fault, the stages and databases it strikes, and what follows."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Database = Literal["sqlite", "postgresql"]
BOTH: tuple[Database, ...] = ("sqlite", "postgresql")


class Outcome(StrEnum):
    """What becomes of a load that a fault strikes; readers see a whole partition at all times."""

    LANDS = "the same run lands it"
    FAILS = "the run fails and says why; nothing is published; a clean run lands it"
    DIES = "the process is gone; a clean run lands it"
    REFUSED = "the run cannot commit over what another one landed"
    RECOVERS = "what was under way is told as failed and is run again to its end"


@dataclass(frozen=True)
class Fault:
    """One row: ``name`` strikes at ``stage`` of a load on each of ``databases``."""

    name: str
    stage: str
    outcome: Outcome
    databases: tuple[Database, ...] = BOTH


FAULTS: tuple[Fault, ...] = ()


def strikes(name: str) -> list[tuple[Fault, Database]]:
    """Return the cases of all rows called ``name``, one for each of their databases."""
    return [(fault, each) for fault in FAULTS if fault.name == name for each in fault.databases]
