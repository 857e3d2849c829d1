"""`mqtt`: receives a broker's messages and publishes the outbox; entities as of a time."""

import click

from orchestration_project.cli.commands import Command, Group


@click.group(cls=Group)
def mqtt() -> None:
    """Messages of an MQTT broker."""


@mqtt.command("bridge", cls=Command)
def bridge() -> int:
    """Receive messages into mqtt_inbox and publish the outbox, until Ctrl-C or SIGTERM.

    `ui` starts it if MQTT_SOURCE is broker. Of several that run, one is at work; another replaces
    it when its lease ends.
    """
    import logging
    import signal
    from threading import Event

    from orchestration_project.engine.environment import open_checked_warehouse, open_clock
    from orchestration_project.instance.logs import in_log_format, keep_log_lines
    from orchestration_project.resources.mqtt.opening import open_bridge
    from orchestration_project.services.hosts import open_host_report
    from orchestration_project.settings import load_settings

    settings = load_settings()
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[in_log_format(handler)], level=logging.WARNING)
    logging.getLogger("orchestration_project").setLevel(settings.log_level)
    keep_log_lines(settings, "bridge")
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with open_checked_warehouse(settings) as warehouse, open_host_report(settings, "bridge"):
        open_bridge(settings, warehouse, open_clock(settings)).run(stop)
    return 0


@mqtt.command("as-of", cls=Command)
@click.argument("entities")
@click.option("--at", required=True, metavar="TIME", help="Time, e.g. 2026-11-01T00:00:00Z.")
def as_of(entities: str, at: str) -> int:
    """Write projects, components or other ENTITIES of a time as JSON lines.

    They are folded from the events that the mirror had then.
    """
    from orchestration_project.cli.mqtt_run import write_as_of

    return write_as_of(entities, at)
