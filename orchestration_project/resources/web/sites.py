"""Site files of WEB_SITES_DIR: the valid ones as sites, the others as problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestration_project.domains.web.settings import WebSettings
from orchestration_project.domains.web.sites import Site, read_site
from orchestration_project.engine.contracts.exports import Target
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.web.item_exports import export_targets, problems_of_exports
from orchestration_project.services.exports import is_valid_cron

MAX_FILE_BYTES = 1_000_000
MAX_CSV_BYTES = 20_000_000
MAX_SITES = 1_000


@dataclass(frozen=True)
class SiteFiles:
    """Site files of a folder.

    Attributes:
        sites: Valid sites by name.
        problems: What is wrong with each other file, by file name.
    """

    sites: Mapping[str, Site]
    problems: Mapping[str, str]


def site_files_of(settings: WebSettings) -> SiteFiles:
    """Return the site files of WEB_SITES_DIR, with exports to targets of EXPORTS_FILE."""
    return read_site_files(settings.web_sites_path, export_targets(settings))


def read_site_files(folder: Path, targets: Mapping[str, Target] | None = None) -> SiteFiles:
    """Read the `*.yaml` files of a folder; a file that is broken is a problem, and no error.

    A folder that is missing has no sites. ``targets`` are those of EXPORTS_FILE; None: exports of
    sites are not compared with them.
    """
    sites: dict[str, Site] = {}
    problems: dict[str, str] = {}
    files: Sequence[Path] = sorted(folder.glob("*.yaml"))
    for file in files[:MAX_SITES]:
        try:
            site_file = read_site_file(file, targets)
        except ConfigurationError as error:
            problems[file.name] = error.found or error.what
            continue
        if site_file.site != file.stem:
            problems[file.name] = f"line 1: site: expected {file.stem!r}, found {site_file.site!r}"
        else:
            sites[site_file.site] = site_file
    for file in files[MAX_SITES:]:
        problems[file.name] = f"expected up to {MAX_SITES} site files"
    return SiteFiles(sites, problems)


def read_site_file(file: Path, targets: Mapping[str, Target] | None = None) -> Site:
    """Return the site of a file, whose exports name only ``targets``; None: any.

    Raises:
        ConfigurationError: It cannot be read, or is invalid.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigurationError("invalid site file", found="more than 1 MB")
        text = content.decode()
        site = _fill_tables(read_site(text), file.parent)
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(
            "the site file cannot be read", found=f"{type(error).__name__}: {error}"
        ) from error
    except ImportError as error:
        raise ConfigurationError(
            "site files cannot be read",
            found=f"the package {error.name} is missing: install the extra web of this package",
        ) from error
    if site.schedule is not None and not is_valid_cron(site.schedule):
        line = next(
            number
            for number, name in enumerate(text.splitlines(), start=1)
            if "schedule" in name.partition(":")[0]
        )
        expected = "expected a cron expression, e.g. 0 6 * * *"
        raise ConfigurationError(
            "invalid site file",
            found=f"line {line}: schedule: {expected}, found {site.schedule[:60]!r}",
        )
    if targets is not None and (problems := list(problems_of_exports(site, text, targets))):
        raise ConfigurationError("invalid site file", found="; ".join(problems))
    return site


def _fill_tables(site: Site, folder: Path) -> Site:
    """Return a site with the rows of the CSV files that its reference tables name.

    Raises:
        ConfigurationError: A file cannot be read, or is not as its table declares.
    """
    tables = dict(site.item.tables)
    for name, table in tables.items():
        if table.csv is None:
            continue
        try:
            with (folder / table.csv).open("rb") as opened:
                content = opened.read(MAX_CSV_BYTES + 1)
            if len(content) > MAX_CSV_BYTES:
                raise ValueError(f"expected up to {MAX_CSV_BYTES} bytes")
            tables[name] = table.with_csv(content.decode("utf-8-sig"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ConfigurationError(
                "invalid site file", found=f"item.tables.{name}: {table.csv}: {reason}"
            ) from error
    item = site.item.model_copy(update={"tables": tables})
    return site.model_copy(update={"item": item})
