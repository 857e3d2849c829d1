"""`web`: checks a site file against captured pages and stored robots.txt; nothing is requested."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration_project.cli.commands import Command, Group
from orchestration_project.cli.console import OUTPUT, aligned, echo, emit, printable

if TYPE_CHECKING:
    from orchestration_project.resources.web.checking import SiteCheck


@click.group(cls=Group)
def web() -> None:
    """Site files, tried on captured pages."""


@web.command("check", cls=Command, has_json=True)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(file: Path) -> int:
    """Check a site FILE: its schema and addresses, selectors on captured pages, robots.txt.

    Selectors are tried on the pages of the latest crawl of that site. Nothing is requested: without
    captured pages, schema and stored robots.txt alone are checked.
    Exit status: 0 valid, 1 a problem, 2 usage.
    """
    from orchestration_project.domains.web.settings import WebSettings
    from orchestration_project.engine.captures import Captures
    from orchestration_project.engine.connections.artifacts import open_store
    from orchestration_project.engine.environment import open_warehouse
    from orchestration_project.errors import ConfigurationError
    from orchestration_project.resources.web.access import site_guard
    from orchestration_project.resources.web.checking import check_site
    from orchestration_project.resources.web.item_exports import export_targets
    from orchestration_project.resources.web.sites import read_site_file
    from orchestration_project.settings import load_settings

    settings = load_settings()
    try:
        site = read_site_file(file, export_targets(settings))
    except ConfigurationError as error:
        problems = str(error.found or error.what).split("; ")
        if OUTPUT.is_json:
            emit({"file": str(file), "is_valid": False, "problems": problems})
        for problem in problems:
            echo(f"{file}: {printable(problem)}")
        return 1
    with open_warehouse(settings) as warehouse:
        site_check = check_site(
            site, warehouse, Captures(open_store(settings)), site_guard(WebSettings.of(settings))
        )
    if OUTPUT.is_json:
        emit(as_json(file, site_check))
    else:
        for line in shown(file, site_check):
            echo(line)
    return int(bool(site_check.problems))


def as_json(file: Path, found: "SiteCheck") -> Mapping[str, Any]:
    """Return the result of a check as values of JSON."""
    figures = found.figures
    return {
        "file": str(file),
        "site": found.site.site,
        "is_valid": not found.problems,
        "problems": list(found.problems),
        "accepted_fields": list(found.accepted),
        "day": found.day,
        "page_count": found.page_count,
        "item_count": figures.item_count,
        "rejects": dict(figures.rejects),
        "fill_rates": {name: round(figures.fill_rate(name), 4) for name in found.site.item.fields},
        "start": [
            {"url": start_url.url, "robots": start_url.verdict, "fetched_at": start_url.fetched_at}
            for start_url in found.start
        ],
    }


def shown(file: Path, found: "SiteCheck") -> Iterator[str]:
    """Yield the lines that people read about a check."""
    figures = found.figures
    yield f"{file}: {'valid' if not found.problems else f'{len(found.problems)} problems'}"
    for start_url in found.start:
        at = (
            f" (robots.txt of {start_url.fetched_at:%Y-%m-%d %H:%M} UTC)"
            if start_url.fetched_at
            else ""
        )
        yield f"  start  {start_url.verdict:<11}  {printable(start_url.url)}{at}"
    if found.accepted:
        yield f"  accepted proposals select  {', '.join(found.accepted)}"
    if found.day is None:
        yield "  no page is captured: selectors were not tried"
    else:
        yield (
            f"  {found.page_count} pages of {found.day}: {figures.item_count} items, "
            f"{figures.reject_count} rejects"
        )
        rows = [
            [f"  {name}", f"{figures.fill_rate(name):.1%}", str(figures.filled[name])]
            for name in found.site.item.fields
        ]
        yield aligned([["  field", "fill rate", "items"], *rows], numbers_from=1)
        for code, count in sorted(figures.rejects.items()):
            yield f"  {count} rejects {code}: {printable(figures.examples[code][0])}"
    for problem in found.problems:
        yield f"  problem: {printable(problem)}"
