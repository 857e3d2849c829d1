"""The commands about settings: their effective values, whether they are valid, what differs."""

from pathlib import Path

import click

from orchestration_project.cli.commands import Group
from orchestration_project.cli.console import emit_or, show_rows

HEADINGS = {"name": "name", "value": "value", "origin": "origin"}
COMPARED = {"name": "name", "value": "here", "other": "in the file"}


@click.group("config", cls=Group)
def command() -> None:
    """Settings: from the environment, then .env, then defaults; secrets are masked."""


@command.command(has_json=True)
def show() -> int:
    """List each setting, check limit and preset value with its origin."""
    from orchestration_project.services.presets import effective_config
    from orchestration_project.settings import load_settings

    entries = effective_config(load_settings()).entries
    show_rows(
        [
            {"name": name, "value": each.value, "origin": each.origin}
            for name, each in entries.items()
        ],
        HEADINGS,
    )
    return 0


@command.command(has_json=True)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False))
def diff(file: str | None) -> int:
    """List the settings that differ from their defaults, or from those of FILE.

    Secrets are compared only by whether they are set.
    """
    from orchestration_project.settings import (
        load_settings,
        origins,
        settings_of_file,
        shown_values,
    )

    here = shown_values(load_settings())
    if file is None:
        origin = origins()
        rows = [
            {"name": name.upper(), "value": value, "origin": origin[name]}
            for name, value in here.items()
            if origin[name] != "default"
        ]
        show_rows(rows, HEADINGS)
        return 0
    there = shown_values(settings_of_file(Path(file)))
    show_rows(
        [
            {"name": name.upper(), "value": value, "other": there[name]}
            for name, value in here.items()
            if value != there[name]
        ],
        COMPARED,
    )
    return 0


@command.command(has_json=True)
def check() -> int:
    """Check all settings and the YAML files that they name; exit status 1 if one is invalid."""
    from orchestration_project.catalog import DOMAINS
    from orchestration_project.errors import ConfigurationError
    from orchestration_project.settings import load_settings

    problems = list[str]()
    try:
        settings = load_settings()
    except ConfigurationError as error:
        problems.append(str(error))
    else:
        for domain in DOMAINS:
            try:
                domain.require_valid(settings)
            except ConfigurationError as error:
                problems.append(str(error))
    emit_or({"is_valid": not problems, "problems": problems}, *(problems or ["valid"]))
    return int(bool(problems))
