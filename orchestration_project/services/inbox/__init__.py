"""The inbox of webhooks: who may deliver, what was delivered, and what became of it."""
