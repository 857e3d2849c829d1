"""Folders below STATE_DIR, where all state lies."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from orchestration_project.connections.private_files import make_files_private
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import Settings


def state_folder(settings: Settings, *names: str) -> Path:
    """Return the folder ``names`` below STATE_DIR, made when it is missing.

    What this process makes from now on is for its user alone.

    Raises:
        ConfigurationError: STATE_DIR cannot be made or written.
    """
    make_files_private()
    folder = settings.state_path.joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder):  # permissions do not tell; a read-only disk is one too
            return folder
    except OSError as error:
        raise ConfigurationError(
            "STATE_DIR cannot be used",
            expected="a folder that this user may create and write",
            found=f"{error.strerror} at {error.filename}",
            remedy="set STATE_DIR to a folder that is yours",
            state_dir=settings.state_path,
        ) from error
