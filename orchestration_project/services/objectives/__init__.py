"""Service level objectives: declared in a file, counted from our own tables, evaluated each 5 min.

Here is what the file declares; `counting.py` counts events, `evaluating.py` keeps budgets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.objectives.rules.objectives import (
    GatewayLatency,
    KnownNames,
    Objective,
    invalid_file,
    parse_objectives,
    read_objectives,
)
from orchestration_project.services.status import Deadlines
from orchestration_project.settings import Settings
from orchestration_project.settings.chosen import domain_choices

if TYPE_CHECKING:
    from orchestration_project.registry import Registry


@dataclass(frozen=True)
class MirrorLagReader:
    """Registers a reader of the age of the oldest message that a mirror lacks, seconds; 0: none."""

    read: Callable[[Warehouse, datetime], float]


def declared_objectives(settings: Settings, registry: "Registry") -> Sequence[Objective]:
    """Return the declared objectives of domains that are on; without the default file, none.

    Raises:
        ConfigurationError: The file cannot be read or is invalid.
    """
    path = settings.slo_path
    if path is None:
        return ()
    domains = registry.domains
    known = KnownNames(
        domains=[each.name for each in domains],
        with_deadlines=[each.name for each in domains if each.registered(Deadlines)],
        with_mirrors=[each.name for each in domains if each.registered(MirrorLagReader)],
        off=[name for name, choice in domain_choices(settings).items() if not choice.is_on],
    )
    return read_objectives(_text(path), str(path), known)


def latency_objectives(settings: Settings) -> Sequence[GatewayLatency]:
    """Return those of the gateway's latency, without a look at domains.

    Raises:
        ConfigurationError: The file cannot be read or is invalid.
    """
    path = settings.slo_path
    found = () if path is None else parse_objectives(_text(path), str(path))
    return [each for each in found if isinstance(each, GatewayLatency)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise invalid_file(str(path), f"the file cannot be read: {found}") from error
