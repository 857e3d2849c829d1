"""Alerts: stored first, in our database, then sent to each channel by Apprise."""

from orchestration_project.services.alerts.alerts import Alerts, build_alerts
from orchestration_project.services.alerts.inbox import AlertState
from orchestration_project.services.alerts.policy import Links, collect_names, read_policy

__all__ = ["AlertState", "Alerts", "Links", "build_alerts", "collect_names", "read_policy"]
