"""The inbox of webhooks: who may deliver, what was delivered, and what became of it."""

from orchestration_project.services.inbox.rows import GroupCommit, Inbox, NewDelivery, Stored
from orchestration_project.services.inbox.senders import Sender, read_senders

__all__ = ["GroupCommit", "Inbox", "NewDelivery", "Sender", "Stored", "read_senders"]
