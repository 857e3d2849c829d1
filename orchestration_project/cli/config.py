"""The commands about settings: their effective values, whether they are valid, what differs."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import emit_or, show_rows

if TYPE_CHECKING:
    from orchestration_project.settings import Settings

HEADINGS = {"name": "name", "value": "value", "origin": "origin"}
COMPARED = {"name": "name", "value": "value", "other": "value in the file", "origin": "origin"}


@click.group("config", cls=Group)
def command() -> None:
    """Settings: from the environment, then .env, then defaults; secrets are masked."""


@command.command(has_json=True)
def show() -> int:
    """List each setting of the domains that are on, check limit and preset value, with origin."""
    from orchestration_project.settings import load_settings

    show_rows(list_settings(load_settings()), HEADINGS)
    return 0


def list_settings(settings: "Settings") -> list[Mapping[str, str]]:
    """Return settings, check limits and preset values as they are shown, with origins."""
    from orchestration_project.services.presets import resolve_config, select_enabled
    from orchestration_project.settings import places

    entries = select_enabled(settings, resolve_config(settings).entries)
    where = {name.upper(): place for name, place in places().items()}
    return [
        {"name": name, "value": entry.value, "origin": where.get(name, entry.origin)}
        for name, entry in entries.items()
    ]


@command.command(has_json=True)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
def diff(file: str | None) -> int:
    """List the settings and check limits that differ from their defaults, or from those of FILE.

    FILE is a file of settings, read without the environment. Secrets are compared, and masked.
    """
    from orchestration_project.settings import load_settings, places, settings_of_file

    here = _read_values(load_settings())
    there = _read_values(settings_of_file(Path(file).resolve() if file else None))
    where = {name.upper(): place for name, place in places().items()}
    rows = [
        {"name": name, "value": text, "other": there[name][1], "origin": where.get(name, "file")}
        for name, (value, text) in here.items()
        if value != there[name][0]
    ]
    show_rows(rows, COMPARED if file else COMPARED | {"other": "default"})
    return 0


def _read_values(settings: "Settings") -> Mapping[str, tuple[object, str]]:
    """Return each setting and check limit by name, as it is and as it is shown."""
    from orchestration_project.settings import shown_values

    shown_names = shown_values(settings)
    limits = {name: (limit, str(limit)) for name, limit in settings.checks.flat().items()}
    return {
        **{name.upper(): (getattr(settings, name), text) for name, text in shown_names.items()},
        **{f"checks: {name}": pair for name, pair in limits.items()},
    }


@command.command(has_json=True)
def check() -> int:
    """Check all settings, the YAML files that they name, and the presets.

    Exit status 1 if one is invalid.
    """
    from orchestration_project.errors import ConfigurationError
    from orchestration_project.settings import load_settings

    problems = list[str]()
    try:
        settings = load_settings()
    except ConfigurationError as error:
        problems.append(str(error))
    else:
        for read in _iterate_readers(settings):
            try:
                read()
            except ConfigurationError as error:
                problems.append(str(error))
    problems = list(dict.fromkeys(problems))  # two domains read checks.yaml
    emit_or({"is_valid": not problems, "problems": problems}, *(problems or ["valid"]))
    return int(bool(problems))


def _iterate_readers(settings: "Settings") -> Iterator[Callable[[], object]]:
    """Yield the functions that read the files of all domains, and those that belong to none."""
    from orchestration_project.engine.contracts.presets import find_preset_targets
    from orchestration_project.services.exports import read_declared_exports
    from orchestration_project.services.objectives import read_declared_objectives
    from orchestration_project.services.presets import list_preset_names, resolve_preset
    from orchestration_project.settings import domains_on
    from orchestration_project.settings.chosen import known_domains
    from orchestration_project.settings.project import own_files

    yield from (partial(settings.require_domain, name) for name in sorted(domains_on(settings)))
    if own_files():
        yield _read_own_declarations
    yield partial(_read_alert_rules, settings)
    yield partial(read_declared_exports, settings)
    yield partial(read_declared_objectives, settings)
    targets = find_preset_targets(known_domains())
    for name in list_preset_names():
        yield partial(resolve_preset, name, targets)


def _read_own_declarations() -> None:
    """Read the datasets and derived tables that the project declares.

    Raises:
        ConfigurationError: A declaration is wrong.
    """
    from orchestration_project.engine.own_derived import load_derivations

    load_derivations()


def _read_alert_rules(settings: "Settings") -> None:
    """Read the alert channels and their rules.

    Raises:
        ConfigurationError: One is invalid.
    """
    from datetime import timedelta

    from orchestration_project.services.alerts import read_policy
    from orchestration_project.services.alerts.rules.channels import parse_channels

    policy = read_policy(
        settings.alert_rules_path,
        *parse_channels(settings.every_alert_url, settings.named_alert_urls),
        window=timedelta(hours=settings.alert_repeat_after_hours),
    )
    if policy.problem is not None:
        raise policy.problem
