"""Hostile plugins: what each attempts, what it is granted, and the verdict at each isolation level.

`attempts.py` has those that try to leave their cage and report how that went as a row; `claims.py`
those that ask the host for more than was granted; `speech.py` those that break the protocol or a
limit. A verdict `loaded` has a row; `refused` fails the run with a violation; `failed` fails it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROW_SCHEMA = {
    "type": "object",
    "properties": {"got": {"type": "string"}},
    "required": ["got"],
    "additionalProperties": False,
}

BUDGET = {"seconds": 20, "memory_mib": 256, "requests": 20, "bytes": 1_000_000, "rows": 100}


@dataclass(frozen=True)
class HostilePlugin:
    """A plugin that does what it must not.

    Attributes:
        name: Its ID.
        code: Its entry.
        namespaces: Verdict with namespaces.
        process: Verdict with PLUGINS_ISOLATION=process; empty: the same.
        says: Words of the failure, or of the row.
        process_says: The same with PLUGINS_ISOLATION=process; empty: equal words.
        permissions: Permissions beside its table `verdicts`.
        budget: Its budget, beside `BUDGET`.
    """

    name: str
    code: str
    namespaces: str
    says: str
    process: str = ""
    process_says: str = ""
    permissions: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, int] = field(default_factory=dict)

    def expected(self, level: str) -> tuple[str, str]:
        """Return verdict and words at an isolation level."""
        if level == "process":
            return self.process or self.namespaces, self.process_says or self.says
        return self.namespaces, self.says

    @property
    def manifest(self) -> dict[str, Any]:
        """Its manifest."""
        return {
            "id": self.name,
            "version": "1.0.0",
            "publisher": "evil.example",
            "kind": "action" if "actions" in self.permissions else "source",
            "entry": "main.py",
            "requires": ">=0.1",
            "description": "A hostile plugin.",
            "permissions": {"tables": ["verdicts"], **self.permissions},
            "budget": {**BUDGET, **self.budget},
            "config_schema": {"type": "object"},
            "row_schemas": {"verdicts": ROW_SCHEMA},
        }

    def write(self, folder: Path) -> Path:
        """Write its folder; return it."""
        own = folder / self.name
        own.mkdir(parents=True)
        (own / "plugin.yaml").write_text(yaml.safe_dump(self.manifest), encoding="utf-8")
        (own / "main.py").write_text(self.code, encoding="utf-8")
        return own
