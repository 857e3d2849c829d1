"""The assets of MQTT: mirror, dead letters, entities folded from events, and their graph."""

from orchestration_project.assets.mqtt.catalogue import (
    HOURS,
    MIRROR,
    MIRROR_JOB,
    bridges,
    inbox,
    kinds,
)
from orchestration_project.assets.mqtt.checks import check_flow, check_kinds, flow_job
from orchestration_project.assets.mqtt.dead_letters import (
    REPLAY_OP,
    replay_dead_letters,
    replay_job,
)
from orchestration_project.assets.mqtt.mirror import mirror_job, mirror_mqtt
from orchestration_project.assets.mqtt.projects import draw_graph, fold_job, fold_mqtt

__all__ = [
    "HOURS",
    "MIRROR",
    "MIRROR_JOB",
    "REPLAY_OP",
    "bridges",
    "check_flow",
    "check_kinds",
    "draw_graph",
    "flow_job",
    "fold_job",
    "fold_mqtt",
    "inbox",
    "kinds",
    "mirror_job",
    "mirror_mqtt",
    "replay_dead_letters",
    "replay_job",
]
