"""Deletes what this project keeps, all or nothing, after a question.

Tables are evidence only with the captured bytes that they name, so neither is deleted alone.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestration_project.cli.console import OUTPUT, echo, preview
from orchestration_project.cli.known_names import DATASETS_FILE
from orchestration_project.cli.stack_services import data_folders
from orchestration_project.cli.ui import LOCK, refuse_other_ui
from orchestration_project.engine.connections.simulator import stop_demos
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings, load_settings, project_folder

STATE_DIR_MARKERS = ("dagster", "artifacts")
"""Folders that identify a STATE_DIR; a folder without any of them is not deleted."""

SHARED_STATE_FILES = (
    *(*STATE_DIR_MARKERS, "evidence", "http", "logs", "matplotlib", "scratch"),
    *("stack", "uploads"),
    *(
        "alerts_told.json",
        "bench.json",
        "chain_key",
        "domains",
        DATASETS_FILE,
        "session_secret",
        "*.partial",
        "*.sqlite",
        "*.sqlite-*",
    ),
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
    _refuse_other_state(settings)
    if OUTPUT.is_dry_run:
        preview(f"of {folder} would be deleted: {_list_names(folder)}")
        return 0
    if not is_confirmed and not _request_consent(folder):
        echo("nothing was deleted")
        return 1
    with _lock_out_ui(folder / "dagster"):
        paths = _find_state(folder)
        if obstacles := [text for path in paths for text in _find_obstacles(path)]:
            raise ConfigurationError(
                f"not all that is in {folder} can be deleted, so nothing was",
                found="; ".join(obstacles),
                remedy="correct the permissions, or unmount what is mounted there, and reset again",
            )
        stop_demos(settings)
        left = [why for why in map(_delete_path, paths) if why]
    if left:
        raise ConfigurationError(
            f"not all that was in {folder} can be deleted",
            found="; ".join(left),
            remedy="correct what it names, and reset again",
        )
    servers = [str(path) for path in paths if folder not in path.parents]
    echo(f"{' and '.join([_drop_dir(folder), *servers])}; databases and stores elsewhere are empty")
    return 0


def _refuse_other_state(settings: Settings) -> None:
    """Refuse to delete a part of the state while the rest is where this command deletes nothing.

    Raises:
        ConfigurationError: A database or store outside of STATE_DIR has state.
    """
    if other_names := list(_find_other_state(settings)):
        raise ConfigurationError(
            f"{settings.state_path} is only a part of the state",
            expected="empty databases and stores where the settings name others",
            found="; ".join(other_names),
            remedy="drop or empty these first, or unset the setting if they are of another "
            "installation",
        )


def _find_other_state(settings: Settings) -> Iterator[str]:
    """Return the databases and stores outside of STATE_DIR that have state."""
    from sqlalchemy import inspect

    from orchestration_project.engine.connections.artifacts import FolderStore, open_store
    from orchestration_project.engine.connections.clock import Clock
    from orchestration_project.engine.environment import open_unprepared_warehouse
    from orchestration_project.engine.warehouse import Warehouse
    from orchestration_project.instance.storage import postgres_url

    folder = settings.state_path.resolve()
    if settings.database_url is not None:
        with open_unprepared_warehouse(settings) as warehouse:
            file = warehouse.file
            is_inside = file is not None and file.resolve().parent == folder
            if not is_inside and (version := warehouse.version()):
                yield f"DATABASE_URL: {warehouse.shown_url} has tables of version {version}"
    if settings.dagster_database_url is not None:
        url = postgres_url(settings.dagster_database_url.get_secret_value())
        with Warehouse(url, clock=Clock()) as dagster, dagster.reading() as connection:
            if inspect(connection).has_table("runs"):
                yield f"DAGSTER_DATABASE_URL: {dagster.shown_url} has Dagster's tables"
    if settings.artifacts_url is not None:
        store = open_store(settings)
        is_inside = isinstance(store, FolderStore) and folder in store.folder.resolve().parents
        if not is_inside and any(True for _ in store.listed()):
            yield f"ARTIFACTS_URL: {store.url} has artifacts"


def _find_obstacles(path: Path) -> Iterator[str]:
    """Return why a file or folder cannot be deleted; nothing is changed."""
    device = path.parent.stat().st_dev
    folders = [path.parent]
    if path.is_dir() and not path.is_symlink():
        folders += [Path(folder) for folder, _, _ in os.walk(path)]
    for folder in folders:
        shown_path = path if folder == path.parent else folder
        if folder.stat().st_dev != device:
            yield f"{shown_path}: {os.strerror(errno.EBUSY)}"
            return
        if not os.access(folder, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
            yield f"{shown_path}: {os.strerror(errno.EROFS if is_read_only else errno.EACCES)}"
            return


@contextmanager
def _lock_out_ui(home: Path) -> Iterator[None]:
    """Keep every `ui` out; nothing is written, as the disk may be full.

    Raises:
        ConfigurationError: One runs.
    """
    with ExitStack() as exit_stack:
        if (home / LOCK).exists():  # made by the first `ui`
            refuse_other_ui(home, exit_stack.enter_context((home / LOCK).open()))
        yield


def _delete_path(path: Path) -> str:
    """Delete a file or folder; return why it is still there, empty if it is not."""
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _drop_dir(folder: Path) -> str:
    """Remove a folder that nothing is left in, if that can be; return what came of it."""
    other_names = sorted(path.name for path in folder.iterdir())
    if other_names:
        return f"deleted {folder}; not ours, so still there: {', '.join(other_names)}"
    try:
        folder.rmdir()
    except OSError:  # such as a link, or where a disk is mounted
        return f"deleted all that was in {folder}, which itself cannot be deleted"
    return f"deleted {folder}"


def _find_state(folder: Path) -> list[Path]:
    # Not above: it reads the settings, and wrong ones are to end `main` with a message.
    from orchestration_project.catalog import import_all_domains

    of_domains = (path for domain in import_all_domains() for path in domain.state_paths)
    patterns = [*SHARED_STATE_FILES, *of_domains]
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return [*files, *data_folders(folder / "stack" / "postgresql")]


def _refuse_foreign(folder: Path) -> None:
    project = project_folder()
    if folder in project.parents or folder == project:
        name = "the project itself, or a folder above it"
    elif not any((folder / mark).exists() for mark in STATE_DIR_MARKERS):
        name = "a folder with nothing of this project's in it"
    else:
        return
    raise ConfigurationError(
        f"STATE_DIR {folder} is not deleted",
        expected="a folder that only this project fills",
        found=name,
        remedy="correct STATE_DIR",
    )


def _list_names(folder: Path) -> str:
    """Return the names of the paths to delete; a path outside of ``folder`` is shown whole."""
    return ", ".join(
        path.name if folder in path.parents else str(path) for path in _find_state(folder)
    )


def _request_consent(folder: Path) -> bool:
    try:
        answer = input(f"Delete all data in {folder}: {_list_names(folder)}? [y/N] ")
    except EOFError:  # standard input is closed
        return False
    return answer.strip().lower() in ("y", "yes")
