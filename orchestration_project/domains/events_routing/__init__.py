"""Routing of webhook deliveries: which rules match, and which actions follow."""
