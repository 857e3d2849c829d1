"""Presets, and the settings in force with them as a run finds them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel
from sqlalchemy import Connection, func, insert, select, update

from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.presets import (
    Preset,
    PresetTarget,
    check_values,
    parse_preset,
    read_preset,
    resolve_values,
)
from orchestration_project.engine.leases import lock_row
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.frames import clean_text
from orchestration_project.errors import ConfigurationError, UnknownNameError, did_you_mean
from orchestration_project.settings import (
    Settings,
    default_files,
    default_path,
    domain_of_name,
    domains_on,
    load_shared_settings,
    off_domain,
    origins,
    shown_values,
)
from orchestration_project.settings.checks import CheckLimits
from orchestration_project.settings.project import PRESETS
from orchestration_project.tables.operations_deployment import (
    operations_verified_configs as verified,
)
from orchestration_project.tables.operations_edits import operations_presets

if TYPE_CHECKING:
    import dagster as dg

RUN_TAG = "preset"
"""This tag of a run names the applied preset that it went by."""

HASH_DIGITS = 16
"""Hex digits of a SHA-256: 64 bits need no protection against forgery here, and fit a tag."""


@dataclass(frozen=True)
class ConfigValue:
    """A value as it is shown, and where it comes from: default, file, environment or a preset."""

    value: str
    origin: str


@dataclass(frozen=True)
class ConfigDifference:
    """A value that is another than it was; empty text where there is, or was, none."""

    name: str
    before: str
    now: str
    origin: str


@dataclass(frozen=True)
class EffectiveConfig:
    """All values by name, without secrets, and the names of those that change no result.

    Secrets take no part, not even as digests: a digest that everybody can read invites guessing,
    and a password that was changed as it should be is not a drift. Whether one is set does take
    part.
    """

    entries: Mapping[str, ConfigValue]
    without_effect: frozenset[str] = field(default=frozenset(), compare=False)

    @cached_property
    def config_hash(self) -> str:
        """The hash of the values that change results, wherever they come from."""
        return self._hash(without=self.without_effect)

    @cached_property
    def full_hash(self) -> str:
        """The hash of all values: what was found under others may not hold."""
        return self._hash(without=frozenset())

    def _hash(self, *, without: frozenset[str]) -> str:
        values = {name: entry.value for name, entry in self.entries.items() if name not in without}
        text = json.dumps(values, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]

    def to_json(self) -> str:
        """Return the entries as a JSON object by name."""
        return json.dumps({name: asdict(entry) for name, entry in self.entries.items()})

    @classmethod
    def from_json(cls, text: str) -> "EffectiveConfig":
        """Return the configuration that `to_json` wrote."""
        document: Mapping[str, Mapping[str, str]] = json.loads(text)
        return cls({name: ConfigValue(**entry) for name, entry in document.items()})


def compare_configs(before: EffectiveConfig, now: EffectiveConfig) -> Sequence[ConfigDifference]:
    """Return the changed values, by name."""
    nothing = ConfigValue("", "")
    names = sorted({*before.entries, *now.entries})
    pairs = ((text, before.entries.get(text, nothing), now.entries.get(text)) for text in names)
    return [
        ConfigDifference(
            name, old.value, new.value if new else "", new.origin if new else "removed"
        )
        for name, old, new in pairs
        if new is None or old.value != new.value or name not in before.entries
    ]


def collect_leaves(tree: Mapping[str, Any], *above: str) -> Mapping[str, str]:
    """Return the values of a run's config by their path, such as `ops.load.config.full`."""
    names: dict[str, str] = {}
    for name, value in tree.items():
        path = (*above, str(name))
        if isinstance(value, Mapping):
            names |= collect_leaves(value, *path)
        else:
            names[".".join(path)] = json.dumps(value, default=str)  # YAML knows days
    return names


@dataclass(frozen=True)
class AppliedPreset:
    """A preset as it was applied: ``number`` counts what was applied to its job."""

    number: int
    preset: Preset
    user: str
    reason: str
    applied_at: datetime

    def __str__(self) -> str:
        return f"{self.preset.name}#{self.number}"


def list_preset_names() -> list[str]:
    """Return the names of the presets that there are."""
    return [file.stem for file in list_files(PRESETS)]


def list_files(folder: Path) -> Sequence[Path]:
    """Return the presets in ``folder``, but what an editor puts beside them (`.#full.yaml`)."""
    return default_files(folder, "[!.]*.yaml")


def resolve_preset(name: str, targets: Sequence[PresetTarget]) -> tuple[Preset, PresetTarget]:
    """Return the preset in ``config/presets/<name>.yaml``, and the one of ``targets`` it is for.

    Raises:
        ConfigurationError: There is none of that name, or it cannot be used.
    """
    content = _read_content(name)
    return read_preset(name, content, targets)


def read_raw_preset(name: str) -> tuple[Preset, dict[str, Any]]:
    """Return the preset in ``config/presets/<name>.yaml`` and its run config, unseen by its job.

    Raises:
        ConfigurationError: There is none of that name, or it says nothing that could be taken.
    """
    return parse_preset(name, _read_content(name))


def read_run_config(name: str, job: str) -> dict[str, Any]:
    """Return the run config of a preset for a run of ``job``.

    Raises:
        ConfigurationError: There is none of that name, or it is for another job.
    """
    preset, config = read_raw_preset(name)
    if preset.job != job:
        raise ConfigurationError(
            f"the preset {name} is not for the job {job}", expected=f"the job {preset.job}"
        )
    return config


def _read_content(name: str) -> str:
    names = list_preset_names()  # no path is made of a name that is not one of them
    if name not in names:
        raise UnknownNameError(
            f"preset not found: {name!r}",
            expected=f"one of {', '.join(names)}",
            remedy=did_you_mean(name, names) or "name one of them",
        )
    try:
        return default_path(PRESETS / f"{name}.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the preset {name} cannot be read",
            expected="a text file in UTF-8",
            found=getattr(error, "strerror", None) or str(error),
            remedy="correct the file in config/presets/",
        ) from error


def list_presets(presets: "Presets", targets: Sequence[PresetTarget]) -> list[dict[str, Any]]:
    """Return a row for each preset that there is; for one that cannot be used, why not."""
    in_force = {preset_target.job: presets.in_force(preset_target.job) for preset_target in targets}
    rows = []
    for name in list_enabled_presets():
        row = {"preset": name, "job": "", "description": "", "in_force": "", "problem": ""}
        try:
            preset, target = resolve_preset(name, targets)
        except ConfigurationError as error:
            rows.append(row | {"problem": str(error)})
            continue
        applied = in_force[target.job]
        applied_text = ""
        if applied and applied.preset.name == name:
            is_same = applied.preset.values == preset.values
            applied_text = f"since {applied.applied_at:%Y-%m-%d %H:%M} UTC"
            applied_text += "" if is_same else "; the file changed since"
        rows.append(
            row | {"job": preset.job, "description": preset.description, "in_force": applied_text}
        )
    return rows


def list_enabled_presets() -> Sequence[str]:
    """Return the names of the presets, but for those of jobs of domains that are off."""
    settings = load_shared_settings()
    return [name for name in list_preset_names() if not off_domain(settings, _read_job(name))]


def _read_job(name: str) -> str:
    """Return the job of a preset; empty if the preset cannot be read."""
    try:
        return read_raw_preset(name)[0].job
    except ConfigurationError:
        return ""


class Presets:
    """Reads and writes which presets were applied; rows are added, and never changed."""

    def __init__(self, warehouse: Warehouse, clock: Clock) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def in_force(self, job: str) -> AppliedPreset | None:
        """Return the preset applied last to ``job``, if any was; its values as they were."""
        with self._warehouse.reading() as connection:
            return _find_latest(connection, job)

    def all_in_force(self) -> list[AppliedPreset]:
        """Return the preset applied last to each job, by job; earlier applications are not read."""
        applied: list[AppliedPreset] = []
        first = select(func.min(operations_presets.c.job))
        with self._warehouse.reading() as connection:
            job = connection.execute(first).scalar()
            while job is not None and (latest := _find_latest(connection, job)):
                applied.append(latest)
                job = connection.execute(first.where(operations_presets.c.job > job)).scalar()
        return applied

    def apply(self, preset: Preset, *, user: str, reason: str, run_id: str) -> AppliedPreset | None:
        """Put a preset in force for its job; None where the same is in force already."""
        with self._warehouse.writing() as connection:
            lock_row(connection, operations_presets.name)
            before = _find_latest(connection, preset.job)
            if before and (before.preset.name, before.preset.values) == (
                preset.name,
                preset.values,
            ):
                return None
            number = before.number + 1 if before else 1
            applied = AppliedPreset(number, preset, user, reason, self._clock.now())
            connection.execute(insert(operations_presets).values(_build_row(applied, run_id)))
        return applied


@dataclass(frozen=True)
class RunPresets:
    """Values of the applied presets for one run."""

    instance: "dg.DagsterInstance"
    run_id: str
    settings: Settings
    presets: Presets

    def values(self, target: PresetTarget, own: BaseModel) -> dict[str, Any]:
        """Return the values of the run: its own config, else the applied preset, else the settings.

        The run gets a tag that names the preset.

        Raises:
            ConfigurationError: The job cannot take any more what was applied to it once.
        """
        applied = self.presets.in_force(target.job)
        if applied is not None:
            check_values(applied.preset, target)
            self.instance.add_run_tags(self.run_id, {RUN_TAG: str(applied)})
        attributes = {name: getattr(own, name) for name in target.fields}
        preset = applied.preset.values if applied else {}
        return resolve_values(attributes, preset, target.base(self.settings))


def _find_latest(connection: Connection, job: str) -> AppliedPreset | None:
    table = operations_presets
    query = select(table).where(table.c.job == job).order_by(table.c.applied_number.desc())
    row = connection.execute(query.limit(1)).mappings().first()
    if row is None:
        return None
    preset = Preset(row["preset"], job, json.loads(row["content"]))
    return AppliedPreset(
        row["applied_number"], preset, row["user_name"], row["reason"], row["applied_at"]
    )


def _build_row(applied: AppliedPreset, run_id: str) -> dict[str, Any]:
    return {
        "job": applied.preset.job,
        "applied_number": applied.number,
        "preset": applied.preset.name,
        "content": json.dumps(applied.preset.values, sort_keys=True),
        "user_name": clean_text(applied.user),
        "reason": clean_text(applied.reason),
        "run_id": run_id,
        "applied_at": applied.applied_at,
    }


LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where there is one, ten times as fast: every run reads all presets."""


def resolve_config(settings: Settings, presets: Path = PRESETS) -> EffectiveConfig:
    """Return every setting, and what each preset would set for a run that names it."""
    entries = list_settings(settings)
    for file in list_files(presets):
        entries |= _read_preset_file(file)
    return EffectiveConfig(entries, settings.names_without_effect())


def select_enabled(
    settings: Settings, entries: Mapping[str, ConfigValue]
) -> dict[str, ConfigValue]:
    """Return the entries but for settings, limits and presets of domains that are off."""
    on = {"", *domains_on(settings)}
    jobs = {name: _read_job(name) for name in list_preset_names()}

    def is_on(name: str) -> bool:
        subject, separator, text = name.partition(": ")
        if not separator:
            return settings.domain_of(name.lower()) in on
        owner = text.partition(".")[0] if subject == "checks" else jobs.get(subject, subject)
        return domain_of_name(owner) in on

    return {name: value for name, value in entries.items() if is_on(name)}


def list_settings(settings: Settings) -> dict[str, ConfigValue]:
    """Return every setting and limit of a check, without presets."""
    origin = origins()
    entries = {
        name.upper(): ConfigValue(value, origin[name])
        for name, value in shown_values(settings).items()
    }
    return {**entries, **_check_limits(settings)}


def _check_limits(settings: Settings) -> Mapping[str, ConfigValue]:
    """Return the limits of checks; of an invalid file its bytes, as of a preset."""
    path = settings.checks_path
    try:
        limits = settings.checks.flat()
    except ConfigurationError:
        return {"checks": ConfigValue(_describe_unusable(path), "file")}
    defaults = CheckLimits().flat()
    return {
        f"checks: {name}": ConfigValue(
            str(value), "default" if value == defaults.get(name) or path is None else path.name
        )
        for name, value in limits.items()
    }


def _describe_unusable(file: Path | None) -> str:
    content = b""
    with suppress(OSError):
        content = file.read_bytes() if file else b""
    return f"cannot be used, SHA-256 {hashlib.sha256(content).hexdigest()[:12]}"


def _read_preset_file(file: Path) -> Mapping[str, ConfigValue]:
    """Return the values that a file would set; of one that cannot be used, a hash of its bytes.

    Somebody may be writing it: no run may fail for that.
    """
    try:
        read = yaml.load(file.read_bytes().decode(), LOADER)  # noqa: S506 - a safe one
    except (OSError, ValueError, yaml.YAMLError):  # ValueError: of no UTF-8, and of 2026-02-30
        read = None
    if not isinstance(read, dict):
        return {file.stem: ConfigValue(_describe_unusable(file), f"preset {file.stem}")}
    values = collect_leaves(read)
    return {
        f"{file.stem}: {path}": ConfigValue(value, f"preset {file.stem}")
        for path, value in values.items()
    }


def read_applied(presets: Presets) -> Mapping[str, ConfigValue]:
    """Return the values that applied presets set, by job, with the preset and who applied it.

    It takes no part in the hash of the configuration: which preset a run went by is on record for
    each run, and is only known once the database is open.
    """
    return {
        f"{applied.preset.job}: {field}": ConfigValue(
            json.dumps(value), f"preset {applied}, applied by {applied.user}"
        )
        for applied in presets.all_in_force()
        for field, value in applied.preset.values.items()
    }


def read_verified_config(warehouse: Warehouse) -> EffectiveConfig | None:
    """Return the configuration that was verified last, None where none was."""
    newest = select(verified.c.entries).order_by(verified.c.verified_at.desc()).limit(1)
    with warehouse.reading() as connection:
        found = connection.execute(newest).scalar()
    return None if found is None else EffectiveConfig.from_json(found)


def record_verified_config(
    warehouse: Warehouse, config: EffectiveConfig, *, at: datetime, run_id: str
) -> None:
    """Remember that ``config`` was verified."""
    values = {"entries": config.to_json(), "verified_at": at, "run_id": run_id}
    same = verified.c.config_hash == config.config_hash
    with warehouse.writing() as connection:
        if not connection.execute(update(verified).where(same).values(values)).rowcount:
            connection.execute(insert(verified).values(config_hash=config.config_hash, **values))
