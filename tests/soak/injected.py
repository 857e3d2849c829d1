"""What the driver adds to each Python program that it starts, and to their children.

`write_hook` writes a sitecustomize.py with all that it needs: the programs get no setting for it.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
HOOK = """import sys
sys.path.append({root!r})
from tests.soak.injected import start
start({folder!r}, {canary!r})
"""

Patch = Callable[[ModuleType], None]


def write_hook(folder: Path, canary: str = "") -> Path:
    """Write the folder that belongs on PYTHONPATH, for a run in ``folder``; return it."""
    hooks = folder / "injected"
    hooks.mkdir(exist_ok=True)
    text = HOOK.format(root=str(ROOT), folder=str(folder), canary=canary)
    (hooks / "sitecustomize.py").write_text(text)
    return hooks


def start(folder: str, canary: str) -> None:
    """Follow the calendar, and patch the vendors and what a canary breaks when it is imported."""
    sys.modules["pytest"] = None  # type: ignore[assignment] - time-machine imports it if it can
    from tests.soak import calendar_file

    del sys.modules["pytest"]
    calendar_file.follow(Path(folder) / "calendar")
    from tests.soak import canaries, vendors

    patches = dict.fromkeys(calendar_file.MODULES_OF_REAL_TIME, calendar_file.keep_real_time)
    patches |= vendors.patches(Path(folder)) | canaries.patches(canary)
    sys.meta_path.insert(0, _Patching(patches))


class _Patching(importlib.abc.MetaPathFinder):
    """Finds the modules that have a patch, and applies it after their code has run."""

    def __init__(self, patches: Mapping[str, Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = self._patches.get(fullname)
        found = importlib.machinery.PathFinder.find_spec(fullname, path) if patch else None
        if patch and found and found.loader:
            found.loader = _Patched(found.loader, patch)
        return found


class _Patched(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, patch: Patch) -> None:
        self._loader, self._patch = loader, patch

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._patch(module)
