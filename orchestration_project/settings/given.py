"""The values that the environment, `.env` and files of secrets give to settings."""

import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic.fields import FieldInfo

from orchestration_project.settings.project import PROJECT, project_folder
from orchestration_project.settings.values import is_secret, project_path

ENVIRONMENT: Mapping[str, str] = os.environ
"""The process's environment as it is now; nothing else reads it."""

DAGSTER_COMMANDS = {"dagster", "dagster-webserver", "dagster-daemon", "daemon"}
"""Names of programs that put the `.env` of the working directory above the environment.

The last one is the project's own, around Dagster's.
"""

FROM_FILE = "_file"
"""With this ends the name of a variable that holds the path of a secret's file."""

ENV_FILE = "ORCHESTRATE_ENV_FILE"
"""The variable that names the file of `--env-file`, whose values the environment then has."""

CHANNEL = "alert_url_"
"""With this begin the names of variables that are channels of alerts."""

CHANNELS = "alert_url_name"
"""The setting that holds them, by channel."""


PRIVATE = "a file that only its owner and group may use"
"""What a file with a secret must be."""


@dataclass(frozen=True)
class Given:
    """The text of a variable, and where it was found.

    Attributes:
        text: The value as it was written.
        file: The `.env`, or the file of `--env-file`, that holds it; None for the environment.
        name: The variable's name in capitals, for errors.
    """

    text: str
    file: Path | None
    name: str

    @property
    def origin(self) -> str:
        """Either file or environment."""
        return "environment" if self.file is None else "file"

    @property
    def place(self) -> str:
        """The origin as errors name it, such as `.env line 12`."""
        if self.file is None:
            return "environment"
        line = _find_lines(self.file).get(self.name)
        return f"{self.file.name} line {line}" if line else self.file.name


class Unusable:
    """Takes the place of a secret that cannot be read; no setting accepts it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return self.reason


GivenValues = Mapping[str, Given]
"""Given values, by the variable's name in lower case."""


def restore_environment() -> None:
    """Set the variables that a Dagster command replaced by those of `.env` to their first values.

    A process is started with the variables of its caller, and the system keeps them as they were.
    The programs that this process starts inherit the restored ones. Variables that `.env` alone
    has stay set. Where the system keeps no first values, `.env` stays above the environment.
    """
    file = Path(".env")
    program = Path(sys.argv[0])  # of `python -m` the path of the module
    parts = (program.stem, program.parent.name, program.parent.parent.name)
    names = {part.replace("_", "-") for part in parts}
    if names.isdisjoint(DAGSTER_COMMANDS) or not file.is_file():
        return
    written, replaced = _read_values(file, interpolate=False), _read_values(file)
    for name, first in _read_environment().items():
        text = os.environ.get(name)
        is_replaced = text == replaced.get(name) or "${" in (written.get(name) or "")
        if name in written and is_replaced and text != first:
            os.environ[name] = first


@cache
def _read_environment() -> Mapping[str, str]:
    """Return the variables that the caller set, as far as the system keeps them.

    They are those of the outermost of the Dagster commands that started this process: what these
    pass down has the values of `.env`, unless they have imported the project.
    """
    import psutil  # not at the top: a command of our own does not come here

    variables: Mapping[str, str] = {}
    try:
        process = psutil.Process()
        variables = process.environ()
        for parent in process.parents():
            command = {Path(word).stem.replace("_", "-") for word in parent.cmdline()[:3]}
            if command.isdisjoint(DAGSTER_COMMANDS):
                break
            variables = parent.environ()
    except (psutil.Error, OSError, NotImplementedError):
        pass
    return variables


def read_given(env_file: Path | None, environment: Mapping[str, str] | None = None) -> GivenValues:
    """Return the variables of ``env_file`` and, before these, those of the environment.

    Names are in lower case; an empty value does not count.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    file = env_file if env_file is not None and env_file.is_file() else None
    of_file = dotenv_values(file, encoding="utf-8") if file else {}
    process = ENVIRONMENT if environment is None else environment
    option = Path(process[ENV_FILE]) if ENV_FILE in process else None
    of_option = _read_values(option) if option else {}
    givens = {name: Given(text, file, name.upper()) for name, text in of_file.items() if text}
    for name, text in process.items():
        if text:
            source = option if of_option.get(name) == text else None
            givens[name] = Given(text, source, name.upper())
    return {name.lower(): value for name, value in givens.items()}


def _read_values(file: Path, *, interpolate: bool = True) -> Mapping[str, str | None]:
    """Return the values of a file like `.env`; of one that cannot be read, none."""
    try:
        return dotenv_values(file, encoding="utf-8", interpolate=interpolate)
    except (OSError, UnicodeDecodeError):
        return {}


def value_of(name: str, given: GivenValues) -> str | Unusable | None:
    """Return the secret ``name``: its own variable's, or the text of the file that NAME_FILE names.

    A newline at the end of the file does not belong to it.
    """
    plain, path = given.get(name), given.get(name + FROM_FILE)
    if path is None:
        return plain.text if plain else None
    if plain is not None:
        text = f"{plain.name} ({plain.place}) and {path.name} ({path.place})"
        return Unusable(f"{text}: expected one of the two")
    return _read_content(path)


def named_secret(name: str) -> str | Unusable | None:
    """Return the secret that a variable of the environment or of `.env` has, or NAME_FILE names.

    Raises:
        OSError: The `.env` cannot be read.
        UnicodeDecodeError: It is not UTF-8.
    """
    return value_of(name.lower(), read_given(project_folder() / ".env"))


def _read_content(path: Given) -> str | Unusable:
    source = f"{path.name}={path.text!r} ({path.place})"
    file = project_path(Path(path.text))
    try:
        text = file.read_text(encoding="utf-8")
        exposed = exposed_mode(file)
    except (OSError, UnicodeDecodeError) as error:
        strerror = error.strerror if isinstance(error, OSError) else "not UTF-8"
        return Unusable(f"{source}: cannot be read: {strerror}")
    if exposed:
        return Unusable(f"{source}: expected {PRIVATE}, found mode {exposed}: chmod o= {file}")
    secret = text.rstrip("\r\n")
    return secret or Unusable(f"{source}: the file is empty")


def exposed_mode(file: Path) -> str:
    """Return the mode of a file that users besides its owner and group may use, empty if none may.

    The mode of a pipe or device is not read: it does not protect the text.

    Raises:
        OSError: The file does not exist.
    """
    mode = file.stat().st_mode
    is_exposed = stat.S_ISREG(mode) and mode & stat.S_IRWXO
    return f"{stat.S_IMODE(mode):04o}" if is_exposed else ""


def field_values(fields: Mapping[str, FieldInfo], given: GivenValues) -> dict[str, Any]:
    """Return the values that are given for ``fields``, not yet validated."""
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name == CHANNELS:
            values[name] = _find_channel_urls(given) or None
        elif is_secret(field):
            values[name] = value_of(name, given)
        elif variable := given.get(name):
            values[name] = variable.text
    return {name: value for name, value in values.items() if value is not None}


def _find_channel_urls(given: GivenValues) -> Mapping[str, str | Unusable]:
    """Return the variables ALERT_URL_<CHANNEL> by channel in lower case."""
    names = {name.removesuffix(FROM_FILE) for name in given if name.startswith(CHANNEL)}
    values = {name.removeprefix(CHANNEL): value_of(name, given) for name in sorted(names)}
    return {name: url for name, url in values.items() if name and url is not None}


def secret_files(names: list[str], given: GivenValues) -> list[Path]:
    """Return the files of secrets that are read."""
    channels = [key for key in given if key.startswith(CHANNEL) and key.endswith(FROM_FILE)]
    files = [given.get(name + FROM_FILE) for name in names] + [
        given[channel] for channel in channels
    ]
    return [project_path(Path(file.text)) for file in files if file]


def _find_lines(file: Path) -> Mapping[str, int]:
    """Return the line of each variable's last value in ``file``."""
    with file.open(encoding="utf-8") as stream:
        bindings = list(parse_stream(stream))
    return {
        binding.key.upper(): binding.original.line + _count_blank_lines(binding.original.string)
        for binding in bindings
        if binding.key
    }


def _count_blank_lines(text: str) -> int:
    return text[: len(text) - len(text.lstrip())].count("\n")


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with ``changes``, for a program that we start.

    The program has the same project folder, whatever its current folder is.
    """
    return {**ENVIRONMENT, PROJECT: str(project_folder()), **changes}
