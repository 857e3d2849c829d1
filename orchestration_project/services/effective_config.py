"""The configuration in effect, of settings and presets; the verified ones, in our database."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import yaml
from sqlalchemy import insert, select, update

from orchestration_project.domains.operations.effective_config import (
    EffectiveConfig,
    Entry,
    leaves,
)
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.services.presets import Presets, preset_files
from orchestration_project.settings import PROJECT_ROOT, Settings, origins, shown_values
from orchestration_project.tables.operations import operations_verified_configs as verified

PRESETS = PROJECT_ROOT / "presets"

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where there is one, ten times as fast: every run reads all presets."""


def effective_config(settings: Settings, presets: Path = PRESETS) -> EffectiveConfig:
    """Return every setting, and what each preset would set for a run that names it."""
    origin = origins()
    entries = {
        name.upper(): Entry(value, origin[name]) for name, value in shown_values(settings).items()
    }
    for file in preset_files(presets):
        entries |= _preset(file)
    return EffectiveConfig(entries, settings.names_without_effect())


def _preset(file: Path) -> Mapping[str, Entry]:
    """Return what a file would set; of one that cannot be used, that it is there, by its bytes.

    Somebody may be writing it: no run may fail for that.
    """
    content = b""
    try:
        content = file.read_bytes()
        read = yaml.load(content.decode(), LOADER)  # noqa: S506 - a safe one
    except (OSError, ValueError, yaml.YAMLError):  # ValueError: of no UTF-8, and of 2026-02-30
        read = None
    if not isinstance(read, dict):
        shown = f"cannot be used, SHA-256 {hashlib.sha256(content).hexdigest()[:12]}"
        return {file.stem: Entry(shown, f"preset {file.stem}")}
    values = leaves(read)
    return {
        f"{file.stem}: {path}": Entry(value, f"preset {file.stem}")
        for path, value in values.items()
    }


def in_force(presets: Presets) -> Mapping[str, Entry]:
    """Return what applied presets set for the runs of each job, which preset and who applied it.

    It takes no part in the hash of the configuration: which preset a run went by is on record for
    each run, and is only known once the database is open.
    """
    return {
        f"{applied.preset.job}: {field}": Entry(
            json.dumps(value), f"preset {applied}, applied by {applied.user}"
        )
        for applied in presets.all_in_force()
        for field, value in applied.preset.values.items()
    }


def last_verified(warehouse: Warehouse) -> EffectiveConfig | None:
    """Return the configuration that was verified last, None where none was."""
    newest = select(verified.c.entries).order_by(verified.c.verified_at.desc()).limit(1)
    with warehouse.reading() as connection:
        found = connection.execute(newest).scalar()
    return None if found is None else EffectiveConfig.from_json(found)


def keep_verified(
    warehouse: Warehouse, config: EffectiveConfig, *, at: datetime, run_id: str
) -> None:
    """Remember that ``config`` was verified."""
    values = {"entries": config.to_json(), "verified_at": at, "run_id": run_id}
    same = verified.c.config_hash == config.config_hash
    with warehouse.writing() as connection:
        if not connection.execute(update(verified).where(same).values(values)).rowcount:
            connection.execute(insert(verified).values(config_hash=config.config_hash, **values))
