"""Settings and versions of an archive and of its runs."""

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import distributions

from sqlalchemy import Connection, select

from orchestration_project.engine.warehouse.migrating import read_schema_version
from orchestration_project.services.evidence.subjects import EvidenceSubject
from orchestration_project.services.presets import ConfigValue, EffectiveConfig
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.operations_deployment import (
    operations_verified_configs as verified,
)
from orchestration_project.tables.operations_runs import operations_runs
from orchestration_project.tables.spine import deliveries


def iterate_settings(
    connection: Connection,
    subject: EvidenceSubject,
    now: EffectiveConfig,
    applied: Mapping[str, ConfigValue],
) -> Iterator[str]:
    """Yield a line for each present value, and each of those that the subject's runs went by.

    Of the latter there are those that were verified; ``applied`` is what presets set now.
    """
    yield from _render_lines(now.config_hash, {**now.entries, **applied})
    query = (
        select(verified.c.config_hash, verified.c.entries)
        .where(
            verified.c.config_hash.in_(
                select(operations_runs.c.config_hash).where(
                    operations_runs.c.run_id.in_(subject.runs)
                )
            ),
            verified.c.config_hash != now.config_hash,
        )
        .order_by(verified.c.config_hash)
    )
    for config_hash, entries in connection.execute(query).all():
        yield from _render_lines(config_hash, EffectiveConfig.from_json(entries).entries)


def _render_lines(config_hash: str, entries: Mapping[str, ConfigValue]) -> Iterator[str]:
    for name, entry in sorted(entries.items()):
        record = {"config_hash": config_hash, "name": name}
        yield json.dumps(record | {"value": entry.value, "origin": entry.origin})


def render_versions(connection: Connection, subject: EvidenceSubject, config_hash: str) -> bytes:
    """Return the member `versions.json`: of this program, and of the rules of the deliveries."""
    rules = connection.execute(
        select(deliveries.c.table_name, deliveries.c.rule_version)
        .where(subject.deliveries)
        .distinct()
        .order_by(deliveries.c.table_name, deliveries.c.rule_version)
    ).all()
    values = {
        "commit": commit(),
        "config_hash": config_hash,
        "packages": _list_packages(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "rules": {
            name: [version for table, version in rules if table == name] for name, _ in rules
        },
        "tables": read_schema_version(connection),
    }
    return f"{json.dumps(values, indent=1, sort_keys=True)}\n".encode()


@cache
def _list_packages() -> Mapping[str, str]:
    """Return the version of each installed package, as this process found it first."""
    return {
        distribution.name: distribution.version
        for distribution in distributions()
        if distribution.name
    }


def commit() -> str | None:
    """Return the commit of this program, `-dirty` after it where files differ; None: not known."""
    git = shutil.which("git")
    if git is None or not (PROJECT_ROOT / ".git").exists():  # one above it would be another's
        return None
    completed = subprocess.run(  # noqa: S603 - git, about our own folder
        [
            git,
            "-C",
            str(PROJECT_ROOT),
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--match=",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    return completed.stdout.strip() if completed.returncode == 0 else None
