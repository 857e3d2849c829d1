"""The action mqtt_event of webhook routing: an event of a declared kind, once per idempotency key.

Mirror and outbox get it in one transaction, and the bridge publishes it. All attempts write the
same bytes: its time is that at which the rule matched.
"""

from uuid import NAMESPACE_URL, uuid5

from pydantic import BaseModel, ConfigDict, Field, field_validator

from orchestration_project.domains.mqtt.envelope import Refusal
from orchestration_project.domains.mqtt.kind_fields import fields_of_kind, static_problems
from orchestration_project.domains.mqtt.kinds import Kind, Kinds
from orchestration_project.domains.mqtt.settings import MqttSettings
from orchestration_project.domains.mqtt.topics import read_topic_filter
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.contracts.matching import TargetFields
from orchestration_project.errors import ConfigurationError, ContractError, did_you_mean
from orchestration_project.registry import (
    ActionEnvironment,
    ActionExamination,
    ActionFindings,
    ActionRequest,
    Registry,
    RoutingAction,
)
from orchestration_project.resources.mqtt.folding import lock_fold
from orchestration_project.resources.mqtt.kinds import read_kind_files
from orchestration_project.resources.mqtt.opening import open_mirror
from orchestration_project.resources.mqtt.own_events import (
    is_key_used,
    prepare_event,
    write_event,
)
from orchestration_project.settings import Settings, switched_off

BROKER = "routing"
"""Broker of arrivals that rules wrote."""

MAX_TOPIC_CHARACTERS = 500


class EventTarget(BaseModel):
    """Declaration of events of one kind.

    Attributes:
        topic: Topic that they are published to, such as shop/orders.
        kind: Kind of MQTT_KINDS_DIR, such as metric.recorded, or metric.recorded.v1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    topic: str = Field(max_length=MAX_TOPIC_CHARACTERS)
    kind: str = Field(min_length=1, max_length=100)

    @field_validator("topic")
    @classmethod
    def _is_a_topic(cls, topic: str) -> str:
        if topic.startswith("$") or not read_topic_filter(topic).is_exact:
            raise ValueError("expected a topic without + and #, e.g. shop/orders")
        return topic


def _find_kind(kinds: Kinds, name: str) -> Kind:
    """Return the newest version of a kind.

    Raises:
        ConfigurationError: MQTT_KINDS_DIR does not have it, or its file is broken.
    """
    if named := kinds.named(name):
        return named[0]
    broken = [
        f"{file}: {problem}" for file, problem in kinds.problems.items() if file.startswith(name)
    ]
    raise ConfigurationError(
        f"invalid kind {name!r}: expected a kind of MQTT_KINDS_DIR",
        expected=f"one of {', '.join(sorted(kinds.versions)) or '(none is declared)'}",
        found="; ".join(broken),
        remedy=did_you_mean(name, kinds.versions) or f"add {name}.v1.json",
    )


def _list_fields(declared: EventTarget, _: Registry, settings: Settings) -> TargetFields:
    kinds = read_kind_files(MqttSettings.of(settings).mqtt_kinds_path)
    return fields_of_kind(_find_kind(kinds, declared.kind))


def _examine(given: ActionExamination) -> ActionFindings:
    """Examine static values by the schema of the kind, and whether there is a broker."""
    declared: EventTarget = given.declared
    settings = MqttSettings.of(given.settings)
    kind = _find_kind(read_kind_files(settings.mqtt_kinds_path), declared.kind)
    static = {name: value for name, value in given.values.items() if value is not None}
    is_off = settings.mqtt_source is None
    doubt = "MQTT_SOURCE is not set: nothing publishes the events" if is_off else ""
    return ActionFindings(static_problems(kind, static), doubt)


def _send(request: ActionRequest, given: ActionEnvironment) -> str:
    """Write the event, unless an earlier attempt did; return its trace_id."""
    declared: EventTarget = request.declared
    settings, key = MqttSettings.of(given.settings), request.idempotency_key
    trace_id = str(uuid5(NAMESPACE_URL, key))
    if settings.mqtt_source is None:
        raise switched_off("MQTT", "MQTT_SOURCE", "broker")
    with given.warehouse.reading() as connection:
        if is_key_used(connection, key):
            return trace_id
    captures = Captures(open_store(given.settings))
    mirror = open_mirror(given.settings, given.warehouse, captures, given.clock, given.run_id)
    _find_kind(mirror.kinds, declared.kind)  # the mirror accepts events of unknown kinds
    envelope = {
        "trace_id": trace_id,
        "ts": request.planned_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "kind": declared.kind,
        "idempotency_key": key,
        "payload": dict(request.fields),
        "hops": list(request.hops),
    }
    event = prepare_event(mirror, envelope, broker=BROKER, topic=declared.topic)
    if isinstance(event, Refusal):
        raise ContractError(
            f"an event cannot be of the kind {declared.kind}",
            expected="a payload that the schema of the kind accepts",
            found=event.reason,
            remedy=f"correct the mappings of {request.rule_id}, then replay the dead letter",
        )
    with given.warehouse.writing() as connection:
        lock_fold(connection)
        if not is_key_used(connection, key):
            write_event(connection, mirror, event, entity=f"{BROKER}|{key}")
    return trace_id


MQTT_EVENT = RoutingAction(
    name="mqtt_event",
    description="Publishes an event of a kind and to a topic that WEBHOOKS_FILE names.",
    declaration=EventTarget,
    fields=_list_fields,
    send=_send,
    examine=_examine,
)
