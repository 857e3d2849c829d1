"""polars, imported when the first of its names is used.

Its import takes longer than a small command, which reads a few rows and makes no frame of them.
A module that uses this needs ``from __future__ import annotations``: other annotations are uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polars import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]


def __getattr__(name: str) -> Any:
    value = globals()[name] = getattr(import_module("polars"), name)
    return value
