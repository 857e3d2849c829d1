"""`domains`: list the domains of this installation with the reason, add and remove some."""

from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import OUTPUT, emit_or, note, preview, show_rows
from orchestration_project.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestration_project.settings import Settings

HEADINGS = {"name": "name", "state": "state", "reason": "why", "remedy": "what turns it on"}

NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def domains(context: click.Context) -> int | None:
    """Domains: which are on, why, and what turns the others on.

    Without a command, list them. A domain that is off has no assets, jobs, sensors, schedules and
    routes; its tables stay, and clean-up, repair, erasure, backup, export and evidence know them.
    """
    return _list() if context.invoked_subcommand is None else None


@domains.command("list", has_json=True)
def list_domains() -> int:
    """List domains and optional datasets: on or off, and why."""
    return _list()


@domains.command("add", has_json=True, has_dry_run=True)
@NAMES
def add(names: tuple[str, ...]) -> int:
    """Turn domains on, such as documents, or datasets of FINRA, such as finra/reg_sho_daily.

    It is stored in STATE_DIR. DOMAINS and FINRA_DATASETS override it. A running `ui` follows.
    """
    return _change(names, is_added=True)


@domains.command("remove", has_json=True, has_dry_run=True)
@NAMES
def remove(names: tuple[str, ...]) -> int:
    """Turn domains or datasets of FINRA off. Their tables stay."""
    return _change(names, is_added=False)


def require_defined(name: str) -> None:
    """Make sure that the domain or dataset of FINRA that a name begins with is on.

    Args:
        name: Name of a job, dataset or table.

    Raises:
        ConfigurationError: It is off.
    """
    from orchestration_project.settings import load_settings, off_domain, require_on
    from orchestration_project.settings.chosen import known_datasets

    settings = load_settings()
    if off := off_domain(settings, name):
        require_on(settings, off)
    dataset = name.replace("_", "/", 1)
    if dataset in known_datasets() and dataset not in _list_datasets_on(settings):
        raise ConfigurationError(
            f"the dataset {dataset} is off", found="it was not chosen", remedy=_name_remedy(dataset)
        )


def _list() -> int:
    from orchestration_project.settings import load_settings
    from orchestration_project.settings.chosen import domain_choices, known_datasets

    settings = load_settings()
    rows = [
        {
            "name": name,
            "state": "on" if choice.is_on else "off",
            "reason": choice.reason,
            "remedy": choice.remedy,
        }
        for name, choice in domain_choices(settings).items()
    ]
    on = _list_datasets_on(settings)
    rows += [
        {
            "name": name,
            "state": "on" if name in on else "off",
            "reason": "it was chosen" if name in on else "it was not chosen",
            "remedy": ""
            if name in on
            else f"orchestrate domains add {name}, or add it to FINRA_DATASETS",
        }
        for name in known_datasets()
    ]
    show_rows(rows, HEADINGS)
    return 0


def _change(names: "Sequence[str]", *, is_added: bool) -> int:
    from orchestration_project.settings import load_settings
    from orchestration_project.settings.chosen import (
        OPERATIONS,
        change_stored,
        known_datasets,
        known_domains,
        require_known,
    )

    settings = load_settings()
    require_known("NAME", names, [*known_domains(), *known_datasets()])
    if OPERATIONS in names and not is_added:
        raise ConfigurationError(
            f"{OPERATIONS} cannot be removed", expected="a domain that not every installation has"
        )
    name = "added" if is_added else "removed"
    listed = ", ".join(names)
    if OUTPUT.is_dry_run:
        preview(f"would be {name}: {listed}", names=list(names))
        return 0
    change_stored(settings, *((names, ()) if is_added else ((), names)))
    emit_or({name: list(names)}, f"{name}: {listed}")
    for setting in _find_overriding(settings, names):
        note(f"{setting} is set, and overrides that")
    return 0


def _find_overriding(settings: "Settings", names: "Iterable[str]") -> "Sequence[str]":
    """Return the settings that override the stored choice of some names."""
    owners = (name.partition("/") for name in names)
    deciding = {f"{domain}_datasets" if slash else "domains" for domain, slash, _ in owners}
    return sorted(setting.upper() for setting in deciding if getattr(settings, setting))


def _name_remedy(dataset: str) -> str:
    setting = f"{dataset.partition('/')[0].upper()}_DATASETS"
    return f"orchestrate domains add {dataset}, or add it to {setting}"


def _list_datasets_on(settings: "Settings") -> frozenset[str]:
    from orchestration_project.settings.chosen import datasets_on, known_datasets

    domains = {*known_datasets().values()}
    return frozenset(
        f"{domain}/{name}" for domain in domains for name in datasets_on(settings, domain)
    )
