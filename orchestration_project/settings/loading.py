"""Reads the settings of a process, and says of each invalid one its value and origin."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide, keep_secrets_out_of_logs
from orchestration_project.settings.given import (
    CHANNEL,
    CHANNELS,
    ENVIRONMENT,
    FROM_FILE,
    Given,
    GivenValues,
    Unusable,
    field_values,
    read_given,
    restore_environment,
    secret_files,
    value_of,
)
from orchestration_project.settings.profile import profile_of, sources_of
from orchestration_project.settings.project import CONFIG, PRESETS, project_folder
from orchestration_project.settings.renamed import MOVED_TO_CHECKS, REMOVED, RENAMED
from orchestration_project.settings.settings import (
    Settings,
    invalid_settings,
    secrets_of,
    setting_names,
    settings_class,
    shown_text,
)
from orchestration_project.settings.values import is_secret

DeclaredT = TypeVar("DeclaredT")

NAMED_BY_USERS = (CHANNEL, "webhook_secret_", "export_secret_", "export_url_", "web_login_")
"""How names begin of which the rest is the user's."""

SIMILARITY = 0.9
"""Two names that are as similar (0-1, difflib) are a setting and a typing error: FINRA_SORCE."""

MAX_SHOWN_CHARACTERS = 60


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        ConfigurationError: Naming every setting that is missing or malformed, all at once.
    """
    settings = load_shared_settings()
    if settings.problems:
        raise invalid_settings([text for texts in settings.problems.values() for text in texts])
    return settings


def load_shared_settings() -> Settings:
    """Read the settings; where those of a domain are invalid, the domain has its defaults.

    `Settings.require_domain` then refuses what belongs to the domain. The setting that names its
    source is none of these, as the sources decide the data profile.

    Raises:
        ConfigurationError: A setting that belongs to no single domain is missing or malformed.
    """
    restore_environment()
    settings = _read(_read_state())
    hide(*secrets_of(settings))
    keep_secrets_out_of_logs()
    return settings


def settings_of_file(file: Path | None) -> Settings:
    """Return the settings as ``file`` alone gives them, without the environment.

    Without a file, these are the defaults.

    Raises:
        ConfigurationError: The file cannot be read, or a setting in it is invalid.
    """
    given_values = _load_given(file, {})
    fields = settings_class().model_fields
    profile = {"data_profile": profile_of(_read_texts(given_values), sources_of(settings_class()))}
    values = {**_read_defaults(fields), **profile, **field_values(fields, given_values)}
    try:
        return settings_class()(**values)
    except ValidationError as error:
        raise invalid_settings(
            [_describe_problem(problem, given_values) for problem in error.errors()]
        ) from None


def origins() -> Mapping[str, str]:
    """Return where the value of each setting comes from now: default, file or environment."""
    return {
        name: source.origin if source else "default"
        for name, source in _find_sources(_read_state()).items()
    }


def places() -> Mapping[str, str]:
    """Return the same for people: default, environment, or such as `.env line 12`."""
    return {
        name: source.place if source else "default"
        for name, source in _find_sources(_read_state()).items()
    }


def read_secrets(*names: str) -> Mapping[str, str]:
    """Return those of the secrets ``names`` that are given, in a variable or in a file.

    They are hidden from now on, as the secrets among the settings are.

    Raises:
        ConfigurationError: The file of one cannot be read.
    """
    restore_environment()
    given_values = _load_given(_find_env_file())
    values = {name: value_of(name.lower(), given_values) for name in names}
    problems = [item.reason for item in values.values() if isinstance(item, Unusable)]
    if problems:
        raise invalid_settings(problems)
    secrets = {name: value for name, value in values.items() if isinstance(value, str)}
    hide(*secrets.values())
    return secrets


def _find_env_file() -> Path | None:
    file = settings_class().model_config.get("env_file")
    return Path(str(file)) if file else None


def _load_given(file: Path | None, environment: Mapping[str, str] | None = None) -> GivenValues:
    try:
        return read_given(file, environment)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            "the file .env cannot be read",
            expected=f"a text file in UTF-8 at {file}",
            found=type(error).__name__,
            remedy="save it as UTF-8, or correct its permissions",
        ) from None  # the original quotes the file, secrets included


def _read_state() -> object:
    """Return a value that differs when a setting may have been changed."""
    file = _find_env_file()
    read = (frozenset(ENVIRONMENT.items()), str(file), _read_stat(file))
    return (*read, *map(_read_stat, _list_secret_files(read)))


@lru_cache(maxsize=1)
def _list_secret_files(_: object) -> Sequence[Path]:
    return secret_files(_list_secret_names(), _load_given(_find_env_file()))


def _read_stat(file: Path | None) -> object:
    try:
        stat = file.stat() if file else None
    except OSError:
        return None
    return stat and (stat.st_mtime_ns, stat.st_size, stat.st_ino)


def _list_secret_names() -> list[str]:
    return [name for name, field in settings_class().model_fields.items() if is_secret(field)]


@lru_cache(maxsize=1)  # to read them takes as long as a small load
def _read(_: object) -> Settings:
    given_values = _load_given(_find_env_file())
    wrong_names = [*_find_wrong_names(given_values), *_find_earlier_places(given_values)]
    try:
        settings = settings_class()()  # pyright: ignore[reportCallIssue] - pydantic fills the fields
    except ValidationError as error:
        settings = _reset_invalid_domains(error, given_values, wrong_names)
    if wrong_names:
        raise invalid_settings(wrong_names)
    return settings


def _reset_invalid_domains(
    error: ValidationError, given: GivenValues, wrong_names: Sequence[str]
) -> Settings:
    """Return the settings with the defaults of each domain that has an invalid one.

    Raises:
        ConfigurationError: A setting that belongs to no single domain is invalid.
    """
    problems: dict[str, list[str]] = {}
    sources = sources_of(settings_class())
    places = {name: index for index, name in enumerate(setting_names())}
    errors = sorted(
        error.errors(), key=lambda each: places.get("".join(map(str, each["loc"][:1])), -1)
    )
    for item in errors:
        name = str(item["loc"][0]) if item["loc"] else ""
        domain = "" if name in sources else settings_class().domain_of(name)
        problems.setdefault(domain, []).append(_describe_problem(item, given))
    if "" in problems or wrong_names:
        raise invalid_settings(
            [*wrong_names, *(_describe_problem(problem, given) for problem in errors)]
        ) from None
    defaults = _read_defaults(
        name
        for name in settings_class().model_fields
        if settings_class().domain_of(name) in problems
    )
    settings = settings_class()(
        **{"data_profile": profile_of(_read_texts(given), sources), **defaults}
    )
    settings._problems = problems
    return settings


def _read_texts(given: GivenValues) -> Mapping[str, str]:
    return {name: value.text for name, value in given.items()}


def _read_defaults(names: Iterable[str]) -> dict[str, Any]:
    fields = settings_class().model_fields
    return {name: fields[name].get_default() for name in names}


def _find_wrong_names(given: GivenValues) -> list[str]:
    """Return the problems of variables whose names resemble settings.

    Their values would be left out in silence: earlier names, and typing errors.
    """
    known_names = set(settings_class().model_fields)
    files = {name + FROM_FILE for name in _list_secret_names()}
    words = tuple({name.partition("_")[0] + "_" for name in known_names})
    problems = []
    for name in sorted(given.keys() - known_names - files):
        variable = given[name]
        if present := RENAMED.get(variable.name):
            problems.append(f"{variable.name} ({variable.place}): renamed, use {present}")
        elif instead := REMOVED.get(variable.name):
            problems.append(f"{variable.name} ({variable.place}): {instead}")
        elif limit := MOVED_TO_CHECKS.get(variable.name):
            problems.append(f"{variable.name} ({variable.place}): use {limit} in checks.yaml")
        elif name.startswith(words) and not name.startswith(NAMED_BY_USERS):
            meant = get_close_matches(name, known_names | files, n=1, cutoff=SIMILARITY)
            if meant:
                problems.append(
                    f"{variable.name} ({variable.place}): unknown setting, "
                    f"did you mean {meant[0].upper()}?"
                )
    return problems


def _find_earlier_places(given: GivenValues) -> Iterator[str]:
    """Yield the files and folders that lie, or are looked for, where they were before `config/`."""
    folder = project_folder()
    defaults = {name: field.default for name, field in settings_class().model_fields.items()}
    for name, present in {**defaults, "": PRESETS}.items():
        if not isinstance(present, Path) or present.parts[0] != CONFIG:
            continue
        earlier, variable = present.relative_to(CONFIG), given.get(name)
        is_there = (folder / earlier).exists()
        if variable is None and is_there and not (folder / present).exists():
            yield f"{earlier}: expected at {present}, move it within {folder}"
        elif variable and Path(variable.text) == earlier and not is_there:
            yield f"{variable.name}={earlier} ({variable.place}): moved, use {present}"


@lru_cache(maxsize=1)
def _find_sources(_: object) -> Mapping[str, Given | None]:
    """Return the variable that gives each setting its value; None: it has its default."""
    files = {name + FROM_FILE: name for name in _list_secret_names()}
    sources: dict[str, Given | None] = dict.fromkeys(settings_class().model_fields)
    for name, value in _load_given(_find_env_file()).items():
        text = CHANNELS if name.startswith(CHANNEL) else files.get(name, name)
        if text in sources and (sources[text] is None or value.file is None):
            sources[text] = value
    return sources


def _describe_problem(error: ErrorDetails, given: GivenValues) -> str:
    """Return the fault of a setting, such as `DEMO_SEED='x' (environment): expected …`."""
    if isinstance(error["input"], Unusable):
        return error["input"].reason
    if not error["loc"]:
        return _read_reason(error)
    from orchestration_project.settings.described import expected_value  # of invalid ones alone

    name = str(error["loc"][0])
    field = settings_class().model_fields[name]
    found = given.get(name) or given.get(name + FROM_FILE)
    reason = _read_reason(error) or f"expected {expected_value(field)}"
    if found is None:
        return f"{name.upper()} is not set: {reason}"
    text = "***" if is_secret(field) else shown_text(name, found.text)
    if len(text) > MAX_SHOWN_CHARACTERS:
        text = text[:MAX_SHOWN_CHARACTERS] + "…"
    return f"{name.upper()}={text!r} ({found.place}): {reason}"


def _read_reason(error: ErrorDetails) -> str:
    """Return the text of our own validators; empty for pydantic's."""
    is_own = error["type"] == "value_error"
    return error["msg"].removeprefix("Value error, ") if is_own else ""


def read_declared(
    path: Path, read: Callable[[str], DeclaredT], *, noun: str, remedy: str
) -> DeclaredT:
    """Return the declaration in a file.

    Args:
        path: The file.
        read: Reads its text.
        noun: What it declares, for messages.
        remedy: What to do if it cannot be read.

    Raises:
        ConfigurationError: It cannot be read, or is invalid.
    """
    try:
        return read(path.read_text(encoding="utf-8"))
    except ConfigurationError as error:
        raise error.within(file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"invalid {noun}: the file cannot be read",
            expected=f"a text file in UTF-8 at {path}",
            found=f"{type(error).__name__}: {error}",
            remedy=remedy,
        ) from error
