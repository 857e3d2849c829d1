"""Presets: named run configs, read and checked, and what a run goes by when one is applied."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from pydantic import BaseModel, ValidationError
from yaml import YAMLError

from orchestration_project.errors import ConfigurationError
from orchestration_project.settings.yaml import read_yaml

JOB_LINE = re.compile(r"Job: *(\S+)")
"""The line of a preset's header that names its job."""

SCHEMA_LINE = "yaml-language-server:"
"""The beginning of the line that names the JSON Schema for editors."""

DOMAINS = "orchestration_project.domains"
"""Package of the rules of domains."""

REMEDY = "correct the file in config/presets/, and apply it (again), or apply another preset"


@dataclass(frozen=True)
class Default:
    """A default where neither a run nor a preset gives an option: a setting, or a fixed value."""

    value: Any = None
    setting: str = ""

    def of(self, settings: object) -> Any:
        """Return the value under these settings."""
        return getattr(settings, self.setting) if self.setting else self.value

    def text(self, settings: object) -> str:
        """Return the default in words: a setting's name and value, or the value as YAML has it."""
        value = self.of(settings)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        value_text = f"{value:g}" if is_number else str(value).lower()
        return f"{self.setting.upper()} ({value_text})" if self.setting else value_text


@dataclass(frozen=True)
class PresetTarget:
    """A job whose runs take from an applied preset what their own config leaves open.

    Attributes:
        op: The op of the job that has the config.
        model: What the op's config may say; a field that is None is left open.
        fields: The fields that a preset may set, each with what holds without one.
    """

    job: str
    op: str
    model: type[BaseModel]
    fields: Mapping[str, Default]

    def base(self, settings: object) -> dict[str, Any]:
        """Return the values that hold where neither a run nor a preset sets one."""
        return {name: default.of(settings) for name, default in self.fields.items()}

    def default_texts(self, settings: object) -> dict[str, str]:
        """Return of each field where its value comes from when a run does not give it."""
        return {
            name: f"applied preset, else {default.text(settings)}"
            for name, default in self.fields.items()
        }


@dataclass(frozen=True)
class Preset:
    """A named run config of a job; ``values`` are the fields that it sets."""

    name: str
    job: str
    values: Mapping[str, Any]
    description: str = ""


def find_preset_targets(domains: Sequence[str]) -> list[PresetTarget]:
    """Return the targets of domains: those of the module `options` of a domain that has one."""
    specs = [find_spec(f"{DOMAINS}.{domain}") for domain in domains]
    packages = [spec for spec in specs if spec and spec.submodule_search_locations]
    modules = [
        f"{package.name}.options"
        for package in packages
        if "options" in [module.name for module in iter_modules(package.submodule_search_locations)]
    ]
    return [target for name in modules for target in import_module(name).PRESET_TARGETS]


def read_preset(
    name: str, content: str, targets: Sequence[PresetTarget]
) -> tuple[Preset, PresetTarget]:
    """Read a preset, YAML that is a run config below comment lines; return it and its target.

    The comment lines describe it, and in one of them, ``# Job: …``, for which job it is.

    Raises:
        ConfigurationError: It is not YAML, names no job that takes presets, or sets what such a job
            cannot take.
    """
    job, description = _parse_header(name, content)
    target = next((preset_target for preset_target in targets if preset_target.job == job), None)
    if target is None:
        jobs = "|".join(target.job for target in targets)
        raise ConfigurationError(
            f"the preset {name} is for the job {job or '(none)'}, which takes no preset",
            expected=f"a line '# Job: <{jobs}>' above the config",
            remedy="correct the file's header",
        )
    values = _read_values(name, _parse_yaml(name, content), target)
    preset = Preset(name, target.job, values, description)
    check_values(preset, target)
    return preset, target


def parse_preset(name: str, content: str) -> tuple[Preset, dict[str, Any]]:
    """Return a preset and its run config as the file says, whether or not its job can take it.

    Raises:
        ConfigurationError: It is not YAML, has no description, or is not a config of one op.
    """
    job, description = _parse_header(name, content)
    config = _parse_yaml(name, content)
    ops = config.get("ops") if isinstance(config, dict) else None
    entries = list(ops.values()) if isinstance(ops, dict) else []
    values = entries[0].get("config") if entries and isinstance(entries[0], dict) else {}
    if not isinstance(ops, dict) or len(entries) > 1 or not isinstance(values, dict):
        raise ConfigurationError(
            f"the preset {name} is not the config of one op",
            expected="ops: {<op>: {config: …}}, or ops: {} for the settings",
            remedy="correct the file",
        )
    return Preset(name, job, values, description), config


def check_values(preset: Preset, target: PresetTarget) -> None:
    """Refuse fields that no preset may set, and values that the job could not take.

    Raises:
        ConfigurationError: There is such a field or value.
    """
    unknown = [field for field in preset.values if field not in target.fields]
    if unknown:
        raise ConfigurationError(
            f"the preset {preset.name} sets {', '.join(map(str, unknown))}",
            expected=f"only {', '.join(target.fields)}; all else is for the config of one run",
            remedy=REMEDY,
        )
    try:
        read = target.model(**preset.values)
    except ValidationError as error:
        problems = [f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors()]
        raise _build_error(preset.name, problems) from error
    coerced = [field for field, value in preset.values.items() if getattr(read, field) != value]
    if coerced:
        raise _build_error(preset.name, [f"{field}: is of another type" for field in coerced])


def _build_error(name: str, problems: Sequence[str]) -> ConfigurationError:
    return ConfigurationError(
        f"the preset {name} sets what its job cannot take",
        found="; ".join(problems),
        remedy=REMEDY,
    )


def resolve_values(
    own: Mapping[str, Any], preset: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Return each value of ``base``, or the preset's, or the run's own, the last that is given."""
    return {
        name: next(
            (entry[name] for entry in (own, preset) if entry.get(name) is not None), base[name]
        )
        for name in base
    }


def compare_presets(
    before: Preset | None, after: Preset, base: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return a row for each field: what holds under ``before`` and what under ``after``, and why.

    ``base`` holds where a preset says nothing.
    """
    return [
        {
            "field": name,
            "now": str(_find_value(before, name, base)),
            "now_from": _find_origin(before, name),
            "then": str(_find_value(after, name, base)),
            "then_from": _find_origin(after, name),
            "changes": _find_value(before, name, base) != _find_value(after, name, base),
        }
        for name in base
    ]


def _find_value(preset: Preset | None, name: str, base: Mapping[str, Any]) -> Any:
    return resolve_values({}, preset.values if preset else {}, base)[name]


def _find_origin(preset: Preset | None, name: str) -> str:
    return f"preset {preset.name}" if preset and name in preset.values else "settings"


def _parse_header(name: str, content: str) -> tuple[str, str]:
    """Return the job and the description in the comment lines that a preset begins with."""
    lines = []
    for line in content.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    lines = [line for line in lines if not line.startswith(SCHEMA_LINE)]
    jobs = [match[1] for line in lines if (match := JOB_LINE.fullmatch(line))]
    description = " ".join(line for line in lines if not JOB_LINE.fullmatch(line)).strip()
    if len(jobs) > 1 or not description:
        raise ConfigurationError(
            f"the preset {name} has no description",
            expected="comment lines at the top: what it does, and one line '# Job: …'",
            remedy="correct the file's header",
        )
    return (jobs or [""])[0], description


def _parse_yaml(name: str, content: str) -> Any:
    try:
        return read_yaml(content)
    except YAMLError as error:
        raise ConfigurationError(
            f"the preset {name} is not YAML",
            found=str(error),
            remedy="correct the file; `dagster job execute -c` takes the same",
        ) from error


def _read_values(name: str, config: Any, target: PresetTarget) -> dict[str, Any]:
    """Return the values of a run config for the target's op alone."""
    ops = config.get("ops", {}) if isinstance(config, dict) else None
    op_config = ops.get(target.op, {"config": {}}) if isinstance(ops, dict) else None
    values = op_config.get("config") if isinstance(op_config, dict) else None
    is_alone = (
        isinstance(values, dict)
        and set(config) <= {"ops"}
        and set(ops or {}) <= {target.op}
        and set(op_config or {}) == {"config"}
    )
    if not is_alone or not isinstance(values, dict):
        raise ConfigurationError(
            f"the preset {name} is not the config of {target.op} alone",
            expected=f"ops: {{{target.op}: {{config: …}}}}, or ops: {{}} for the settings",
            remedy="correct the file",
        )
    return values
