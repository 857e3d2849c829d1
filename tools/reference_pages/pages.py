"""Every file that is generated, by its path as seen from docs/reference."""

from collections.abc import Mapping
from functools import cache

from orchestration_project.settings import PROJECT_ROOT
from tools.reference_pages import (
    alerts,
    automation,
    checks,
    cli,
    diagram,
    dictionary,
    documents,
    errors,
    evidence,
    faults,
    gaps,
    house,
    logs,
    metadata,
    metrics,
    notebooks,
    python_client,
    rest_api,
    rules,
    schemas,
    settings,
    tables,
    webhooks,
)
from tools.reference_pages.error_messages import package_sources

FOLDER = PROJECT_ROOT / "docs" / "reference"

PAGES = {
    "alerts.md": alerts.write,
    "automation.md": automation.write_automation,
    "checks.md": checks.write,
    "cli.md": cli.write,
    "dictionary.md": dictionary.write,
    "documents.md": documents.write,
    "errors.md": errors.write,
    "evidence.md": evidence.write,
    "fault-matrix.md": faults.write,
    "jobs.md": automation.write_jobs,
    "logs.md": logs.write,
    "metadata.md": metadata.write,
    "metrics.md": metrics.write,
    "python-client.md": python_client.write,
    "rest-api.md": rest_api.write,
    "settings.md": settings.write,
    "tables.md": tables.write,
    "webhooks.md": webhooks.write,
}


BY_ANOTHER_PROGRAM = {"dependencies.md"}
"""Pages of the folder that `.ci/dependencies.py` writes."""


@cache
def generated() -> Mapping[str, str]:
    """Return the text of each file."""
    return (
        {name: write() for name, write in PAGES.items()}
        | dict(diagram.write())
        | dict(house.write())
        | dict(rules.write())
        | dict(schemas.write())
        | dict(notebooks.write())
    )


def outdated() -> list[str]:
    """Return the files that differ from what the code generates, or are not there."""
    return [
        name
        for name, text in generated().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != text
    ]


def left() -> list[str]:
    """Return the files of the folder that the code generates no longer."""
    found = {str(each.relative_to(FOLDER)) for each in FOLDER.rglob("*") if each.is_file()}
    return sorted(found - generated().keys() - BY_ANOTHER_PROGRAM)


def missing() -> list[str]:
    """Return a line for each name of the code that the pages lack."""
    return list(gaps.all_gaps(package_sources(), generated()))


def write_all() -> None:
    """Write every file that differs."""
    for name, text in generated().items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
