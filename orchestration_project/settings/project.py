"""The project folder, and the files of the package that those of a project folder override.

The package is installed once; a project folder has the `.env`, state and files of one user. In a
checkout they are the same folder.
"""

import os
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from orchestration_project.errors import ConfigurationError

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]

PROJECT_ROOT = PACKAGE_FOLDER.parent
"""Top folder of the checkout, for what a wheel does not have: git, tests, tools."""

PACKAGED = PACKAGE_FOLDER / "defaults"
"""Folder of the default files in a wheel; the build copies them from the top of a checkout."""

DEFAULTS = PACKAGED if PACKAGED.is_dir() else PROJECT_ROOT
"""Folder of the default files: those of `config/`, dagster.yaml and more."""

CONFIG = "config"
"""Folder of what users edit, below the project folder and that of the default files."""

PRESETS = Path(CONFIG) / "presets"
"""Folder of the presets; those of other files are defaults of settings."""

DEFINITIONS = "orchestration_project.definitions"
"""The module of Dagster's definitions, and the name of the code location that has it."""

PROJECT = "ORCHESTRATE_PROJECT"
"""The variable that names the project folder."""

EXPECTED = f"a folder that {PROJECT} names, or one whose pyproject.toml has [tool.orchestrate]"


@cache
def project_folder() -> Path:
    """Return the project folder, or the current folder where no project folder is declared.

    It stays the same for the whole process, also where that changes its current folder.

    Raises:
        ConfigurationError: ORCHESTRATE_PROJECT names no folder, or a pyproject.toml is unreadable.
    """
    return _find_declared_folder() or _find_current_folder()


def require_project_folder() -> Path:
    """Return the project folder for a command that cannot use the current folder in its place.

    Raises:
        ConfigurationError: No project folder is declared, or its declaration is invalid.
    """
    folder = _find_declared_folder()
    if folder is None:
        raise ConfigurationError(
            "invalid project folder",
            expected=EXPECTED,
            found=f"no such folder at or above {_find_current_folder()}",
            remedy=f"change to the project folder, or set {PROJECT}",
        )
    return folder


def _find_declared_folder() -> Path | None:
    """Return the folder of ORCHESTRATE_PROJECT, else the nearest with [tool.orchestrate]."""
    named = os.environ.get(PROJECT)
    if named:
        return _resolve_folder(named)
    folder = _find_current_folder()
    return next((parent for parent in (folder, *folder.parents) if _is_project(parent)), None)


def _resolve_folder(named: str) -> Path:
    try:
        folder = Path(named).expanduser().resolve()
    except (OSError, RuntimeError):  # RuntimeError: the home of an unknown user
        folder = Path(named)
    if not folder.is_dir():
        raise ConfigurationError(
            "invalid project folder",
            expected=f"an existing folder in {PROJECT}",
            found=named,
            remedy=f"create the folder, or correct {PROJECT}",
        )
    return folder


def _find_current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigurationError(
            "invalid project folder",
            expected=EXPECTED,
            found="a current folder that was deleted",
            remedy=f"change to the project folder, or set {PROJECT}",
        ) from None


def _is_project(folder: Path) -> bool:
    """Return whether the pyproject.toml of ``folder`` has the table [tool.orchestrate]."""
    file = folder / "pyproject.toml"
    try:
        declared = tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:  # ValueError: neither TOML nor UTF-8
        raise ConfigurationError(
            "invalid project folder",
            expected=f"a readable pyproject.toml in {folder}",
            found=str(error),
            remedy=f"correct {file}, or set {PROJECT}",
        ) from error
    tools = declared.get("tool")
    return isinstance(tools, dict) and "orchestrate" in tools


OWN_FOLDERS = ("defs", "*/defs", "src/*/defs")
"""Folders below the project folder whose folders declare sources of its own."""

PACKAGE = "orchestration_project"
"""A file that declares a source names the package; a component or module without it is another's.

A `source.py` in the first folder is always meant for us, so one that does not fails.
"""


@cache
def own_files() -> Sequence[Path]:
    """Return the files that declare sources, by name of their folder.

    Raises:
        ConfigurationError: As `project_folder`.
    """
    folder = _find_declared_folder()
    if folder is None:
        return ()
    meant = list(folder.glob(f"{OWN_FOLDERS[0]}/*/source.py"))
    other_paths = [
        file
        for defs in OWN_FOLDERS
        for name in ("source.py", "defs.yaml")
        for file in folder.glob(f"{defs}/*/{name}")
        if file not in meant
    ]
    ours = [file for file in other_paths if PACKAGE in file.read_text(errors="replace")]
    return sorted([*meant, *ours])


def own_state() -> bytes:
    """Return the state of the files that declare sources, as it is now.

    In a checkout, also of the files of the package: there somebody develops it.
    """
    folder = _find_declared_folder()
    places = [f"{defs}/**/*" for defs in OWN_FOLDERS]
    if folder == PROJECT_ROOT:
        places.append(f"{PACKAGE}/**/*")
    found = {file for name in places for file in folder.glob(name)} if folder else ()
    files = sorted(file for file in found if file.suffix in (".py", ".yaml"))
    states = [(str(file), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
    return repr(states).encode()


@cache
def own_domain() -> str:
    """Return the name under which the project's sources are known; empty: it declares none.

    It is the project's name in `pyproject.toml`, else that of its folder.

    Raises:
        ConfigurationError: The `pyproject.toml` cannot be read.
    """
    if not own_files():
        return ""
    folder = project_folder()
    file = folder / "pyproject.toml"
    try:
        declared = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            "the project's name cannot be read",
            expected=f"a readable pyproject.toml in {folder}",
            found=str(error),
            remedy=f"correct {file}",
        ) from error
    name = str(declared.get("project", {}).get("name", folder.name)).lower()
    return re.sub(r"[^a-z0-9]+", "_", name).strip("_") or "own"
