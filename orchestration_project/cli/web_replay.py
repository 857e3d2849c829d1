"""`replay web_items`: items of captured pages, under the rules of the site or of a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from orchestration_project.assets.web.replay import (
    REPLAY_JOB,
    REPLAY_OP,
    find_site,
    read_day,
)
from orchestration_project.cli import console
from orchestration_project.cli.execution import execute, failures
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.instance.storage import open_instance
from orchestration_project.resources.web.proposals import apply_accepted
from orchestration_project.resources.web.replaying import (
    ReplayPreview,
    day_of_replay,
    preview_replay,
)
from orchestration_project.resources.web.sites import read_site_file
from orchestration_project.settings import load_settings

HEADINGS = {"change": "change", "item_key": "item", "field": "field"}
VALUES = {"before": "before", "after": "after"}
MAX_ROWS_SHOWN = 50


def replay(words: Sequence[str], file: Path | None) -> int:
    """Replay the items of a site, or show what that would change.

    Args:
        words: A site, and a day if another crawl than the latest complete one is meant.
        file: A site file whose rules are used; None: the rules in effect.

    Returns:
        0 if the items are loaded, or listed by a dry run; 1 if they are quarantined.

    Raises:
        UsageError: The words are not a site and a day, or the file is of another site.
        ConfigurationError: The site or file is invalid, or no page is captured.
    """
    if not 1 <= len(words) <= 2:
        raise click.UsageError("expected a site, and a day if not the latest crawl is meant")
    name, *days = words
    site = _read_site(name, file)
    settings = load_settings()
    with full_disk_explained(settings), open_warehouse(settings) as warehouse:
        console.progress(f"database  {warehouse.shown_url}")
        if file is None:
            site = apply_accepted(warehouse, site)
        captures = Captures(open_store(settings))
        day = day_of_replay(warehouse, captures, name, read_day(days[0] if days else None))
        preview = preview_replay(
            site,
            day,
            warehouse=warehouse,
            captures=captures,
            scratch=settings.scratch_path,
            mask_key=WebSettings.of(settings).mask_key,
        )
    if console.OUTPUT.is_dry_run:
        _show(name, preview, outcome="dry run", failed=[])
        return 0
    config = {"site": name, "day": day.isoformat(), "dry_run": False}
    if file is not None:
        config["declaration"] = file.read_text()
    with open_instance() as instance:
        result = execute(instance, REPLAY_JOB, config={"ops": {REPLAY_OP: {"config": config}}})
    failed = failures([] if result.success else [result])
    _show(name, preview, outcome="loaded" if result.success else "not loaded", failed=failed)
    return int(not result.success)


def _read_site(name: str, file: Path | None) -> Site:
    if file is None:
        return find_site(name)
    site = read_site_file(file)
    if site.site != name:
        raise click.UsageError(f"invalid --with {file}: expected site: {name}, found {site.site}")
    return site


def _show(name: str, preview: ReplayPreview, *, outcome: str, failed: Sequence[str]) -> None:
    diff = preview.diff
    if console.OUTPUT.is_json:
        console.emit(_build_document(name, preview, outcome, failed))
        return
    rows: Sequence[Mapping[str, Any]] = [row._asdict() for row in diff.rows[:MAX_ROWS_SHOWN]]
    if rows:
        console.show_rows(rows, HEADINGS | VALUES)
    if len(diff.rows) > len(rows):
        console.echo(f"and {len(diff.rows) - len(rows)} more; --json lists all")
    console.echo(
        f"{outcome}: {diff.in_words} ({preview.page_count} pages of {preview.day}, "
        f"{preview.reject_count} rejects)"
    )
    for text in failed:
        console.echo(text)


def _build_document(
    name: str, preview: ReplayPreview, outcome: str, failed: Sequence[str]
) -> Mapping[str, Any]:
    diff = preview.diff
    return {
        "site": name,
        "day": preview.day,
        "outcome": outcome,
        "page_count": preview.page_count,
        "item_count": preview.item_count,
        "reject_count": preview.reject_count,
        "added": list(diff.added),
        "changed": {key: list(names) for key, names in diff.changed.items()},
        "removed": list(diff.removed),
        "unchanged_count": diff.unchanged_count,
        "differences": [row._asdict() for row in diff.rows],
        "failures": list(failed),
    }
