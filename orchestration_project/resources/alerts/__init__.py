"""Alerts: stored first, in our database, then sent to each channel by Apprise."""

from orchestration_project.resources.alerts.alerts import Alerts
from orchestration_project.resources.alerts.conditions import Condition
from orchestration_project.resources.alerts.inbox import Standing
from orchestration_project.resources.alerts.links import Links
from orchestration_project.resources.alerts.policy import names_of, read_policy

__all__ = ["Alerts", "Condition", "Links", "Standing", "names_of", "read_policy"]
