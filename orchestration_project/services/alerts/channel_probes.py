"""Probes of the channels of alerts: one looks at them, one sends each a message."""

from collections.abc import Callable

from orchestration_project.domains.operations.messages import trial_message
from orchestration_project.domains.operations.readiness import said_by
from orchestration_project.errors import ConfigurationError, OrchestrationError, TransientError
from orchestration_project.registry import Answer, Probe
from orchestration_project.services.alerts import Alerts
from orchestration_project.services.alerts.sending import look_at

NO_CHANNEL = Answer("ALERT_URLS is not set: nobody is told of alerts", is_applicable=False)


def alerts_probe(open_alerts: Callable[[], Alerts]) -> Probe:
    """Return the dry look at the channels of alerts: nothing is sent."""

    def run() -> Answer:
        policy = open_alerts().policy
        channels = policy.channels
        found: dict[str, str] = {}
        wrong = [said_by(policy.problem)] if policy.problem else []
        for channel in channels:
            try:
                found[channel.name] = look_at(channel)
            except OrchestrationError as error:
                wrong.append(f"{error.what}: {error.found}")
        if wrong:
            raise ConfigurationError(
                "alerts would not reach everybody",
                found="; ".join(wrong),
                remedy="check these settings, their services, and the rules; `alerts test` sends "
                "a message, `alerts check` reads the rules",
            )
        said = ", ".join(f"{name} {what}" for name, what in found.items())
        return Answer(said) if channels else NO_CHANNEL

    tried = "read rules and channels, connected where one names a port; sent nothing"
    return Probe("alerts", (), tried, run)


def sending_probe(open_alerts: Callable[[], Alerts]) -> Probe:
    """Return the probe that sends each channel a message, which people see."""

    def run() -> Answer:
        refusals = open_alerts().send_to_all(trial_message())
        if not refusals:
            return NO_CHANNEL
        refused = [f"{name}: {reason}" for name, reason in refusals.items() if reason]
        if refused:
            raise TransientError(
                "channels did not take a test message",
                found="; ".join(refused),
                remedy="check these channels' settings, and their services",
            )
        return Answer(f"taken by {', '.join(refusals)}")

    return Probe("alerts", (), "sent a test message to each channel", run)
