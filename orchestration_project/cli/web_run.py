"""`load web`: crawl sites for a day, load their items, and print how each crawl ended."""

from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from typing import Any

import click
import dagster as dg
from sqlalchemy import select

from orchestration_project.assets.web import DAYS, SITE_FILES, crawl_jobs
from orchestration_project.catalog import REGISTRY
from orchestration_project.cli import console
from orchestration_project.cli.execution import (
    ProgressLine,
    failures,
    materializations_of,
    run_over,
)
from orchestration_project.cli.exit_statuses import EXIT_STATUSES
from orchestration_project.cli.full_disk import full_disk_explained
from orchestration_project.domains.web.tables import web_crawls
from orchestration_project.engine.contracts.partitioning import load_outcome
from orchestration_project.engine.contracts.pipelines import DAY
from orchestration_project.engine.environment import open_clock, open_warehouse
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.instance.storage import open_instance
from orchestration_project.settings import load_settings

COLUMNS = ("request_count", "page_count", "item_count", "reject_count")
COMPLETE = "complete"


def load(arguments: Sequence[str]) -> int:
    """Crawl a site for days, by default all sites for today (UTC), and load their items.

    Args:
        arguments: A site, then days; both may be left out.

    Returns:
        The exit status; failed if a crawl is not complete or its items are not loaded.

    Raises:
        UsageError: The domain has no source, a site is unknown, or a day is not a partition.
        ConfigurationError: The site file is invalid.
    """
    settings = load_settings()
    if reason := REGISTRY.connections["web"].unused(settings):
        raise click.UsageError(f"{reason}; set WEB_SOURCE and WEB_CONTACT")
    sites = [_require_site(arguments[0])] if arguments else sorted(crawl_jobs)
    days = [_parse_day(argument) for argument in arguments[1:]] or [
        open_clock(settings).today("UTC").isoformat()
    ]
    if not sites:
        text = "; ".join(f"{name}: {problem}" for name, problem in SITE_FILES.problems.items())
        raise click.UsageError(
            "WEB_SITES_DIR lacks valid site files: expected one at least, e.g. shop.yaml"
            + (f", found {text}" if text else "")
        )
    names = ", ".join(f"{site} {day}" for site in sites for day in days)
    if console.OUTPUT.is_dry_run:
        console.preview(f"would be crawled: {names}", sites=sites, partitions=days)
        return 0
    with (
        full_disk_explained(settings),
        open_warehouse(settings) as warehouse,
        open_instance() as instance,
    ):
        console.progress(f"database  {warehouse.shown_url}\ncrawl     {names}\n")
        results = [result for site in sites for result in _run(instance, warehouse, site, days)]
        crawls = [_read_crawl(warehouse, site, day) for site in sites for day in days]
    failed = failures(
        [
            job_execution_result
            for job_execution_result in results
            if not job_execution_result.success
        ]
    )
    is_complete = not failed and all(crawl["outcome"] == COMPLETE for crawl in crawls)
    outcome = load_outcome(has_failed=not is_complete, unpublished=())
    if console.OUTPUT.is_json:
        values = {"is_complete": is_complete, "outcome": outcome, "crawls": crawls}
        console.emit({**values, "failures": failed})
    else:
        console.echo("\n".join([_render_table(crawls, _read_written(results)), *failed]))
    return EXIT_STATUSES[outcome]


def _require_site(name: str) -> str:
    """Return the name of a site.

    Raises:
        UsageError: No site file has that name.
        ConfigurationError: Its site file is invalid.
    """
    if name in SITE_FILES.sites:
        return name
    if problem := SITE_FILES.problems.get(f"{name}.yaml"):
        raise ConfigurationError(
            f"the site file {name}.yaml is invalid",
            expected="a valid site file",
            found=problem,
            remedy=f"correct it; orchestrate web check {name}.yaml",
        )
    likely = get_close_matches(name, SITE_FILES.sites, 1)
    text = ", ".join(SITE_FILES.sites) or "none"
    hint = f" Did you mean {likely[0]!r}?" if likely else ""
    raise click.UsageError(f"unknown site {name!r}: expected one of {text}.{hint}")


def _parse_day(written: str) -> str:
    try:
        key = DAY.to_key(written)
    except ConfigurationError as error:
        raise click.UsageError(error.line) from error
    keys = DAYS.get_partition_keys()
    if key not in keys:
        raise click.UsageError(f"invalid day {key}: expected one from {keys[0]} to {keys[-1]}")
    return key


def _run(
    instance: dg.DagsterInstance, warehouse: Warehouse, site: str, days: Sequence[str]
) -> list[dg.JobExecutionResult]:
    def finish(span: tuple[str, str], result: dg.JobExecutionResult) -> None:
        day = span[0]
        outcome = _read_crawl(warehouse, site, day)["outcome"]
        outcomes = {} if outcome == COMPLETE else {day: outcome}
        progress.finish([day], is_loaded=result.success, outcomes=outcomes)

    with ProgressLine(len(days), days) as progress:
        return run_over(
            instance,
            crawl_jobs[site].name,
            [(day, day) for day in days],
            progress,
            after_each=finish,
        )


def _read_crawl(warehouse: Warehouse, site: str, day: str) -> Mapping[str, Any]:
    """Return how a crawl ended, and its counts; not_started: its run failed before."""
    query = select(web_crawls).where(
        web_crawls.c.site == site, web_crawls.c.day == date.fromisoformat(day)
    )
    with warehouse.reading() as connection:
        row = connection.execute(query).mappings().one_or_none()
    values = {"site": site, "day": day, "outcome": "not_started", "reason": None}
    if row is None:
        return {**values, **dict.fromkeys(COLUMNS, 0)}
    names = ("outcome", "reason", *COLUMNS)
    return {**values, **{name: row[name] for name in names}}


def _read_written(results: Sequence[dg.JobExecutionResult]) -> Mapping[tuple[str, str | None], str]:
    """Return the outcomes of item loads, by asset and day."""
    return {
        key: str(metadata.get("outcome", ""))
        for key, metadata in materializations_of(results).items()
    }


def _render_table(
    crawls: Sequence[Mapping[str, Any]], written: Mapping[tuple[str, str | None], str]
) -> str:
    headings = ["site", "day", "crawl", "requests", "pages", "items", "rejects", "loaded"]
    rows = [
        [
            *(str(crawl[name]) for name in ("site", "day", "outcome", *COLUMNS)),
            written.get((f"web_{crawl['site']}_items", crawl["day"]), "nothing"),
        ]
        for crawl in crawls
    ]
    reasons = [
        f"{crawl['site']} {crawl['day']}: {console.printable(crawl['reason'])}"
        for crawl in crawls
        if crawl["reason"]
    ]
    return "\n".join(["", console.aligned([headings, *rows]), *reasons])
