"""Keys, sessions and the audit of the gateway, in our database."""

from orchestration_project.services.access.access import Access, DeniedCaller, KnownCaller
from orchestration_project.services.access.audit import AccessLog, AccessLogEntry
from orchestration_project.services.access.keys import KeyFacts, Keys
from orchestration_project.services.access.secret import session_secret

__all__ = [
    "Access",
    "AccessLog",
    "AccessLogEntry",
    "DeniedCaller",
    "KeyFacts",
    "Keys",
    "KnownCaller",
    "session_secret",
]
