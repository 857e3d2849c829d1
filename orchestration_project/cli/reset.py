"""Deletes what this project keeps in STATE_DIR, after a question."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestration_project.cli.console import OUTPUT, echo, preview
from orchestration_project.cli.ui import LOCK, refuse_other_ui
from orchestration_project.connections.simulator import stop_demos
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import PROJECT_ROOT, load_settings

STATE_DIR_MARKERS = ("dagster", "artifacts")
"""Folders that identify a STATE_DIR; a folder without any of them is not deleted."""

SHARED_STATE_FILES = (
    *(*STATE_DIR_MARKERS, "evidence", "http", "logs", "scratch"),
    *("alerts_told.json", "bench.json", "session_secret", "*.sqlite", "*.sqlite-*"),
)
"""Files and folders that all domains share; deleted with those of each domain."""


def reset(*, is_confirmed: bool) -> int:
    """Ask unless ``is_confirmed``, then delete; return 1 if the answer is no."""
    settings = load_settings()
    folder = settings.state_path
    if not folder.exists():
        echo(f"{folder} does not exist: there is nothing to delete")
        return 0
    _refuse_foreign(folder)
    if OUTPUT.is_dry_run:
        preview(f"of {folder} would be deleted: {_names(folder)}")
        return 0
    if not is_confirmed and not _agreed(folder):
        echo("nothing was deleted")
        return 1
    with _no_ui_on(folder / "dagster"):
        stop_demos(settings)
        left = [why for why in map(_undeleted, _ours(folder)) if why]
    if left:
        raise ConfigurationError(
            f"not all that was in {folder} can be deleted",
            found="; ".join(left),
            remedy="correct the permissions, or unmount what is mounted there, and reset again",
        )
    echo(f"{_removed(folder)}; databases named by DATABASE_URL are as they were")
    return 0


@contextmanager
def _no_ui_on(home: Path) -> Iterator[None]:
    """Keep every `ui` out; nothing is written, as the disk may be full.

    Raises:
        ConfigurationError: One runs.
    """
    with ExitStack() as held:
        if (home / LOCK).exists():  # made by the first `ui`
            refuse_other_ui(home, held.enter_context((home / LOCK).open()))
        yield


def _undeleted(path: Path) -> str:
    """Delete a file or folder; return why it is still there, empty if it is not."""
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _removed(folder: Path) -> str:
    """Remove a folder that nothing is left in, if that can be; return what came of it."""
    others = sorted(each.name for each in folder.iterdir())
    if others:
        return f"deleted {folder}; not ours, so still there: {', '.join(others)}"
    try:
        folder.rmdir()
    except OSError:  # such as a link, or where a disk is mounted
        return f"deleted all that was in {folder}, which itself cannot be deleted"
    return f"deleted {folder}"


def _ours(folder: Path) -> list[Path]:
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.catalog import DOMAINS

    patterns = [*SHARED_STATE_FILES, *(path for domain in DOMAINS for path in domain.state_paths)]
    return sorted(each for pattern in patterns for each in folder.glob(pattern))


def _refuse_foreign(folder: Path) -> None:
    if folder in PROJECT_ROOT.parents or folder == PROJECT_ROOT:
        found = "the project itself, or a folder above it"
    elif not any((folder / mark).exists() for mark in STATE_DIR_MARKERS):
        found = "a folder with nothing of this project's in it"
    else:
        return
    raise ConfigurationError(
        f"STATE_DIR {folder} is not deleted",
        expected="a folder that only this project fills",
        found=found,
        remedy="correct STATE_DIR",
    )


def _names(folder: Path) -> str:
    return ", ".join(each.name for each in _ours(folder))


def _agreed(folder: Path) -> bool:
    try:
        answer = input(f"Delete all data in {folder}: {_names(folder)}? [y/N] ")
    except EOFError:  # standard input is closed
        return False
    return answer.strip().lower() in ("y", "yes")
