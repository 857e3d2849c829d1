"""Routing: what a thousand rules cost a delivery, and the time from a webhook to a request."""

import base64
import socket
from statistics import median

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.gateway import HOST, SECRET, SOURCES, ui
from benchmarks.measures.gateway import DEMO
from benchmarks.report import Line, at_most, line
from benchmarks.rig import Place

RULES = 1_000
DELIVERIES = 500
MILLISECONDS_PER_DELIVERY = 2.0
REQUEST_SECONDS = 6.0
TARGETS = """
targets:
  partner: {{action: http_request, url: "http://{host}:{port}/hooks"}}
"""


def routing(bench: Bench) -> list[Line]:
    """A delivery planned by a thousand rules; a webhook by `ui` to a receiver on this machine."""
    with socket.create_server((HOST, 0)) as server:
        port = int(server.getsockname()[1])
    with bench.rig.sqlite_place() as place:
        settings = _settings(place, port)
        found = [
            call(
                "benchmarks.routing_sides:rules",
                settings,
                rule_count=RULES,
                delivery_count=DELIVERIES,
            )
            for _ in range(bench.repeats)
        ]
        with ui(settings) as gateway_port:
            answers = call(
                "benchmarks.routing_sides:requests",
                settings,
                count=bench.sizes.webhook_runs,
                gateway_port=gateway_port,
                receiver_port=port,
            )
    limit = MILLISECONDS_PER_DELIVERY
    return [
        line(
            f"a delivery planned by {RULES:,} rules, against {limit:g} ms",
            "ms",
            [median(each["milliseconds"]) for each in found],
            [limit],
            at_most(1),
            note=f"rules of one source and kind, {found[0]['matched']} match; half are indexed",
        ),
        line(
            f"from a webhook to the request of its rule, against {REQUEST_SECONDS:g} s",
            "s",
            answers["seconds"],
            [REQUEST_SECONDS],
            at_most(1),
            note="gateway, sensor, run and receiver; the sensor's interval of 4 s and 2 s",
        ),
    ]


def _settings(place: Place, port: int) -> dict[str, str]:
    sources = place.state / "webhooks.yaml"
    sources.write_text(SOURCES + TARGETS.format(host=HOST, port=port))
    return {
        "STATE_DIR": str(place.state),
        "DAGSTER_HOME": str(place.state / "dagster"),
        "WEBHOOKS_FILE": str(sources),
        "WEBHOOK_SECRET_BENCH": SECRET,
        "ROUTING_SECRET_PARTNER": f"whsec_{base64.b64encode(SECRET.encode()).decode()}",
        **DEMO,
    }
