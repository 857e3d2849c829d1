"""The secret that session cookies are signed with."""

import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from orchestration_project.engine.environment import state_folder
from orchestration_project.errors import ConfigurationError
from orchestration_project.redaction import hide
from orchestration_project.settings import Settings

FILE = "session_secret"


def session_secret(settings: Settings) -> str:
    """Return SESSION_SECRET; where it is not set, the one that STATE_DIR keeps, made once.

    Raises:
        ConfigurationError: Others than the owner may read the file.
    """
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value()
    file = state_folder(settings) / FILE
    if not file.exists():
        _make(file)
    if file.stat().st_mode & 0o077:
        raise ConfigurationError(
            "the secret of the sessions may be read by others",
            expected=f"{file} with mode 0600",
            found=f"mode {file.stat().st_mode & 0o777:04o}",
            remedy="delete it: a new one is made, and everybody logs in again",
        )
    secret = file.read_text()
    hide(secret)
    return secret


def _make(file: Path) -> None:
    """Put a new secret there, whole or not at all, for its owner alone; one that is there stays."""
    with NamedTemporaryFile("w", dir=file.parent) as whole:  # made with mode 0600
        whole.write(secrets.token_hex())
        whole.flush()
        with suppress(FileExistsError):
            file.hardlink_to(whole.name)
