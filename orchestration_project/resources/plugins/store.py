"""Archives of plugins: stored by their SHA-256, unpacked, and compared before each run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any
from uuid import uuid4

from orchestration_project.domains.plugins.archives import (
    MAX_ARCHIVE_BYTES,
    MAX_FILE_COUNT,
    MAX_UNPACKED_BYTES,
    Files,
    canonical_archive,
    canonical_sha256,
    check_files,
    read_archive,
)
from orchestration_project.domains.plugins.signatures import file_hashes
from orchestration_project.engine.connections.artifacts import ArtifactStore
from orchestration_project.engine.connections.files import ensure_state_folder
from orchestration_project.errors import ConfigurationError, ContractError, OrchestrationError
from orchestration_project.settings import Settings

FOLDER = "plugins"
"""Folder below STATE_DIR, and in the artifact store."""

IGNORED = frozenset((".git", "__pycache__", ".pytest_cache", ".venv"))
"""Folders of an author's working copy that do not belong to a plugin."""


def artifact_name(sha256: str) -> str:
    """Return the name of a canonical archive in the artifact store."""
    return f"{FOLDER}/{sha256}.zip"


def read_given(path: Path) -> tuple[Files, bytes]:
    """Return the files of a folder or zip archive, and the bytes that a given hash is of.

    Raises:
        ConfigurationError: It is neither, or cannot be read.
        ContractError: As `read_archive`.
    """
    try:
        if path.is_dir():
            files = check_files(_read_files_below(path, ignored=IGNORED))
            return files, canonical_archive(files)
        if not path.is_file():
            raise ConfigurationError(
                f"plugin not found: {path}", expected="a zip archive, or a folder with plugin.yaml"
            )
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise ConfigurationError(
                f"the archive {path} is too large", expected=f"at most {MAX_ARCHIVE_BYTES} bytes"
            )
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the plugin {path} cannot be read", found=error.strerror or type(error).__name__
        ) from error
    return read_archive(content), content


def unpack(settings: Settings, artifacts: ArtifactStore, files: Files) -> str:
    """Store the canonical archive of these files, and unpack it; return its SHA-256."""
    sha256 = canonical_sha256(files)
    artifacts.put(artifact_name(sha256), canonical_archive(files))
    below = ensure_state_folder(settings, FOLDER)
    folder, partial = below / sha256, below / f".{uuid4().hex}.partial"
    if folder.is_dir() and _find_problem(folder, sha256) is None:
        return sha256
    try:
        for name, content in files.items():
            path = partial / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o400)
        if folder.exists() or folder.is_symlink():
            folder.rename(below / f"{partial.name}.old")
        partial.rename(folder)
    except OSError as error:
        raise ConfigurationError(
            "the plugin cannot be unpacked",
            expected=f"a writable folder {below}",
            found=error.strerror or type(error).__name__,
            remedy="make room, or set STATE_DIR to a folder that is yours",
        ) from error
    finally:
        _remove(partial)
        _remove(below / f"{partial.name}.old")
    return sha256


def remove_unpacked(settings: Settings, sha256: str) -> None:
    """Remove an unpacked plugin; its archive stays in the artifact store."""
    _remove(ensure_state_folder(settings, FOLDER) / sha256)


def folder_of(settings: Settings, artifacts: ArtifactStore, stored: Any) -> Path:
    """Return the folder of an unpacked plugin, once each file is the one that was added.

    Args:
        settings: They name STATE_DIR.
        artifacts: Where its archive is, to name the file that changed.
        stored: The plugin, a `StoredPlugin`.

    Raises:
        ConfigurationError: The folder is gone, or a file is missing, added or changed.
    """
    folder = settings.state_path / FOLDER / stored.sha256
    problem = _find_problem(folder, stored.sha256, artifacts)
    if problem is not None:
        raise ConfigurationError(
            f"the plugin {stored.id} is not run: its folder is not the one that was added",
            expected=f"the files of version {stored.version} in {folder}",
            found=problem,
            remedy="run `orchestrate plugins add` with the same archive again",
        )
    return folder


def _find_problem(folder: Path, sha256: str, artifacts: ArtifactStore | None = None) -> str | None:
    """Return how a folder differs from the archive with this hash; None: it does not."""
    try:
        files = _read_files_below(folder)
        if canonical_sha256(files) == sha256:
            return None
        content = artifacts.get(artifact_name(sha256)) if artifacts else b""
        return _describe_difference(read_archive(content), files) if content else "another content"
    except FileNotFoundError:
        return "no such folder, or no archive in the artifact store"
    except (OSError, OrchestrationError) as error:
        return str(error)[:500]


def _describe_difference(expected: Files, found: Files) -> str:
    hashes, now = file_hashes(expected), file_hashes(found)
    problems = {
        **{path: "added" for path in now if path not in hashes},
        **{path: "missing" for path in hashes if path not in now},
        **{path: "changed" for path in hashes if path in now and now[path] != hashes[path]},
    }
    return ", ".join(f"{path} {what}" for path, what in list(problems.items())[:5])


def _read_files_below(folder: Path, ignored: frozenset[str] = frozenset()) -> Files:
    """Return all files below a folder; links and more than a plugin may have are refused.

    Raises:
        FileNotFoundError: The folder does not exist.
        ContractError: One is not a file, or there are too many.
    """
    files_below, room = dict[str, bytes](), MAX_UNPACKED_BYTES
    for path, size in _walk(folder, ignored):
        room -= size
        if room < 0 or len(files_below) >= MAX_FILE_COUNT:
            raise ContractError(
                "the plugin's folder is refused",
                expected=f"at most {MAX_FILE_COUNT} files and {MAX_UNPACKED_BYTES} bytes",
            )
        files_below[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files_below


def _walk(folder: Path, ignored: frozenset[str]) -> Iterator[tuple[Path, int]]:
    with os.scandir(folder) as entries:
        for dir_entry in sorted(entries, key=lambda entry: entry.name):
            if dir_entry.name in ignored:
                continue
            state = dir_entry.stat(follow_symlinks=False)
            if S_ISDIR(state.st_mode):
                yield from _walk(Path(dir_entry.path), ignored)
            elif S_ISREG(state.st_mode):
                yield Path(dir_entry.path), state.st_size
            else:
                raise ContractError(
                    "the plugin's folder is refused",
                    expected="files and folders only",
                    found=f"{dir_entry.name!r:.100} is a link or device",
                )


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
