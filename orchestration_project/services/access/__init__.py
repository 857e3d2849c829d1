"""Keys, sessions and the audit of the gateway, in our database."""

from orchestration_project.services.access.access import (
    Access,
    DeniedCaller,
    KnownCaller,
    read_session_secret,
)
from orchestration_project.services.access.audit import AccessLog, AccessLogEntry
from orchestration_project.services.access.keys import KeyFacts, Keys

__all__ = [
    "Access",
    "AccessLog",
    "AccessLogEntry",
    "DeniedCaller",
    "KeyFacts",
    "Keys",
    "KnownCaller",
    "read_session_secret",
]
