"""Locations of state that the settings name: folder, database, artifact store."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from sqlalchemy.engine import URL

from orchestration_project.connections.artifacts import ArtifactStore, open_artifacts
from orchestration_project.connections.files import make_files_private
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
        with NamedTemporaryFile(dir=folder):  # a disk may be read-only whatever the permissions
            return folder
    except OSError as error:
        raise ConfigurationError(
            "STATE_DIR cannot be used",
            expected="a folder that this user may create and write",
            found=f"{error.strerror} at {error.filename}",
            remedy="set STATE_DIR to a folder that is yours",
            state_dir=settings.state_path,
        ) from error


def open_store(settings: Settings) -> ArtifactStore:
    """Return the artifact store of these settings."""
    return open_artifacts(settings.artifacts_url or str(settings.state_path / "artifacts"))


def database_url(settings: Settings) -> str | URL:
    """Return DATABASE_URL; without it, a SQLite file for the data profile."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    folder = state_folder(settings)
    file = folder / f"{settings.data_profile}.sqlite"
    if (earlier := settings.earlier_database_file) and (folder / earlier).exists():
        file = folder / earlier
    return URL.create("sqlite", database=str(file))
