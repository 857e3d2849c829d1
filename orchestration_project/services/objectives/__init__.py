"""Service level objectives: declared in a file, counted from our own tables, evaluated each 5 min.

Here is what the file declares; `counting.py` counts events, `evaluating.py` keeps budgets.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.objectives.rules.objectives import (
    GatewayLatency,
    Objective,
    build_file_error,
    read_objectives,
)
from orchestration_project.settings import Settings
from orchestration_project.settings.chosen import domain_choices
from orchestration_project.settings.project import own_domain


@dataclass(frozen=True)
class MirrorLagReader:
    """Registers a reader of the age of the oldest message that a mirror lacks, seconds; 0: none."""

    read: Callable[[Warehouse, datetime], float]


def read_declared_objectives(settings: Settings) -> Sequence[Objective]:
    """Return the declared objectives of domains that are on; without the default file, none.

    Raises:
        ConfigurationError: The file cannot be read or is invalid.
    """
    path = settings.slo_path
    if path is None:
        return ()
    indicators = {
        name: ["loads", *_list_indicators(name, settings)] if choice.is_on else None
        for name, choice in domain_choices(settings).items()
    }
    return read_objectives(_read_text(path), str(path), indicators)


def _list_indicators(domain: str, settings: Settings) -> Collection[str]:
    """Return the indicators of a domain; each dataset of the project's own has deadlines."""
    if domain != own_domain():
        return settings.indicators_of(domain)
    from orchestration_project.engine.own_sources import load_declarations

    return ["freshness"] if load_declarations() else []


def read_latency_objectives(settings: Settings) -> Sequence[GatewayLatency]:
    """Return those of the gateway's latency, without a look at domains.

    Raises:
        ConfigurationError: The file cannot be read or is invalid.
    """
    path = settings.slo_path
    found = () if path is None else read_objectives(_read_text(path), str(path))
    return [function for function in found if isinstance(function, GatewayLatency)]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise build_file_error(str(path), f"the file cannot be read: {found}") from error
