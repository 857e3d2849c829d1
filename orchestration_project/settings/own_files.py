"""Files of a project that declare sources of its own: ``defs/<name>/source.py``."""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from orchestration_project.errors import ConfigurationError, OrchestrationError
from orchestration_project.settings.project import project_folder

MODULES = "orchestration_project_defs"
"""Begins the names of the modules that the files become."""

SOURCE = "source"
"""Module of a folder that declares datasets."""


def import_own(file: Path) -> ModuleType:
    """Import a file that declares sources; it is imported once in a process.

    Raises:
        ConfigurationError: It fails, or a declaration in it is wrong.
    """
    folders = _trim_to_project(file).parent.parts
    name = "_".join([MODULES, *folders, *([] if file.stem == SOURCE else [file.stem])])
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # noqa: S101 - the file ends with .py
    assert spec.loader is not None  # noqa: S101 - the same
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except OrchestrationError as error:
        del sys.modules[name]
        raise error.within(file=_locate_error(file, error)) from None
    except Exception as error:
        del sys.modules[name]
        lacks_dlt = isinstance(error, ModuleNotFoundError) and error.name == "dlt"
        raise ConfigurationError(
            "invalid source file: it cannot be imported",
            expected="Python that declares datasets",
            found=f"{type(error).__name__}: {error}",
            remedy="pip install 'orchestration_project[dlt]'" if lacks_dlt else "correct the file",
            file=_locate_error(file, error),
        ) from error
    return module


def own_function(folder: Path, name: str) -> tuple[Any, bytes]:
    """Return a function by module:function of a folder, and the bytes of its module.

    Raises:
        ConfigurationError: There is none, or the module cannot be imported.
    """
    module_name, _, function = name.partition(":")
    file = folder / f"{module_name}.py"
    found = getattr(import_own(file), function, None) if file.is_file() else None
    if not callable(found):
        raise ConfigurationError(
            "invalid function",
            expected="module:function of a module beside the file, such as shop:orders",
            found=name,
            remedy="correct the name, or write the module",
        )
    return found, file.read_bytes()


def _locate_error(file: Path, error: BaseException) -> str:
    """Return the file and the line of it at which an error arose."""
    shown_path = _trim_to_project(file)
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{shown_path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f"{shown_path}:{lines[-1]}" if lines else str(shown_path)


def _trim_to_project(file: Path) -> Path:
    """Return a file's path below the project folder; of one elsewhere, its whole path."""
    folder = project_folder()
    return file.relative_to(folder) if file.is_relative_to(folder) else file
