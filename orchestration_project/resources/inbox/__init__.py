"""The inbox of webhooks: who may deliver, what was delivered, and what became of it."""

from orchestration_project.resources.inbox.batches import GroupCommit
from orchestration_project.resources.inbox.rows import Inbox, Received, Stored
from orchestration_project.resources.inbox.senders import Sender, read_senders

__all__ = ["GroupCommit", "Inbox", "Received", "Sender", "Stored", "read_senders"]
