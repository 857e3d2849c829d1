"""Texts from the declarations of settings: tables of the reference page, and .env.example."""

from collections.abc import Sequence
from textwrap import wrap

from orchestration_project.settings.described import DescribedSetting, described_settings
from orchestration_project.settings.values import GROUPS

TABLE = """
| setting | type | default | allowed | required when | description |
|---|---|---|---|---|---|
"""

EXAMPLE = """# All settings with their defaults. Copy to .env and set what differs.
# Precedence: defaults < .env < environment < applied preset < a run's config.
# Complete examples: examples/env.local, examples/env.finra-api, examples/env.production.
# Lists are comma-separated. A secret NAME may be read from the file that NAME_FILE names.
"""

WIDTH = 98


def sections() -> Sequence[str]:
    """Return the sections of docs/reference/settings.md, one for each group."""
    return [
        f"## {group.capitalize()}\n\n{intro}\n{TABLE}{''.join(map(_show_line, _list_group(group)))}"
        for group, intro in GROUPS.items()
    ]


def _show_line(each: DescribedSetting) -> str:
    kind = f"{each.type}, {each.unit}" if each.unit else each.type
    default = each.default if each.is_computed or not each.default else f"`{each.default}`"
    secret = " Secret." if each.is_secret else ""
    cells = (
        f"`{each.name}`",
        kind,
        default,
        each.allowed,
        each.required_when,
        f"{each.description}{secret}",
    )
    return f"| {' | '.join(cells)} |\n"


def example() -> str:
    """Return .env.example."""
    return EXAMPLE + "".join(
        f"\n# === {group.capitalize()}: {intro} ===\n{''.join(map(_describe, _list_group(group)))}"
        for group, intro in GROUPS.items()
    )


def _list_group(group: str) -> Sequence[DescribedSetting]:
    return [setting for setting in described_settings() if setting.group == group]


def _describe(each: DescribedSetting) -> str:
    texts = (each.description, " ".join(_list_notes(each)))
    lines = "\n".join(
        f"# {line}" for text in texts for line in wrap(text, WIDTH, break_on_hyphens=False)
    )
    if "<" in each.name:  # as it stands it is not a name
        return f"\n{lines}\n# {each.name}=\n"
    return f"\n{lines}\n#{each.name}={'' if each.is_computed else each.default}\n"


def _list_notes(each: DescribedSetting) -> Sequence[str]:
    notes = {
        "Unit": each.unit,
        "Allowed": each.allowed,
        "Default": each.default.strip("()") if each.is_computed else "",
        "Required when": each.required_when,
    }
    return [f"{name}: {text}." for name, text in notes.items() if text]
