"""Webhooks: who may deliver, how a delivery is signed, and which one is worked on next."""
