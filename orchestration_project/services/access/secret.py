"""The secret that session cookies are signed with."""

import secrets

from orchestration_project.connections.files import state_folder, stored_secret
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
    remedy = "delete it: a new one is made, and everybody logs in again"
    file = state_folder(settings) / FILE
    secret = stored_secret(file, secrets.token_hex, "secret of the sessions", remedy)
    hide(secret)
    return secret
