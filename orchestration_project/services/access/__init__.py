"""Keys, sessions and the audit of the gateway, in our database."""

from orchestration_project.services.access.access import Access, Found, Refused
from orchestration_project.services.access.audit import Audit, Entry
from orchestration_project.services.access.keys import KeyFacts, Keys
from orchestration_project.services.access.secret import session_secret

__all__ = [
    "Access",
    "Audit",
    "Entry",
    "Found",
    "KeyFacts",
    "Keys",
    "Refused",
    "session_secret",
]
