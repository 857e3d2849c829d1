"""Patches of modules, applied when a program imports them."""

import importlib.abc
import importlib.machinery
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

Patch = Callable[[Any], None]
"""Changes a module whose code has run."""


class Patching(importlib.abc.MetaPathFinder):
    """Finds the modules that have a patch, and applies it after their code has run."""

    def __init__(self, patches: Mapping[str, Sequence[Patch]]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patches = self._patches.get(fullname, ())
        found = importlib.machinery.PathFinder.find_spec(fullname, path) if patches else None
        if found and found.loader:
            found.loader = _Patched(found.loader, patches)
        return found


class _Patched(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, patches: Sequence[Patch]) -> None:
        self._loader, self._patches = loader, patches

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)
