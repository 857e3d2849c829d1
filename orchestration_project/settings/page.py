"""Prints docs/settings.md from the declarations of the settings; with --example, .env.example."""

from orchestration_project.settings.settings import setting_names, settings_class

PAGE = """# Settings

Read from the environment and from `.env`; the environment goes before. An applied
[preset](presets.md) goes before both, and a run's config before all.
An empty value is no value.
Made by `python -m orchestration_project.settings`; a test holds it to the code.

| setting | default | what it is |
|---|---|---|
"""


def page() -> str:
    """Return docs/settings.md."""
    return PAGE + "".join(f"{_line(name)}\n" for name in setting_names())


def _line(name: str) -> str:
    field = settings_class().model_fields[name]
    default = "" if field.default is None else f"`{field.default}`"
    return f"| `{name.upper()}` | {default} | {field.description} |"


EXAMPLE = """# Every setting, with its default. Copy to .env and set what should differ.
# Precedence: defaults < .env < environment < applied preset < a run's config.
"""


def example() -> str:
    """Return .env.example."""
    return EXAMPLE + "".join(
        f"\n# {field.description}\n#{name.upper()}="
        f"{'' if field.default is None else field.default}\n"
        for name in setting_names()
        if (field := settings_class().model_fields[name])
    )
