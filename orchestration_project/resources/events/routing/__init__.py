"""Routing of webhook deliveries: rules in effect, planned actions, and their application."""
