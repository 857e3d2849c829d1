"""MQTT's dead letters through the API: listed, and judged again by a run."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from orchestration_project.domains.mqtt.envelope import ReasonCode
from orchestration_project.engine.contracts.api.messages import MqttDeadLetter, MqttDeadLetters
from orchestration_project.engine.contracts.api.runs import Launched
from orchestration_project.engine.contracts.moments import Moment
from orchestration_project.gateway.api.jobs import Launch, launch
from orchestration_project.gateway.api.mqtt import (
    ArrivalsWanted,
    next_cursor,
    read_cursor,
    require_kind,
    topic_filter,
)
from orchestration_project.gateway.api.once import IDEMPOTENCY_HEADER
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.resources.mqtt.dead_letters import REPLAY_JOB, REPLAY_OP
from orchestration_project.resources.mqtt.reading import EventFilter, find_dead_letters
from orchestration_project.resources.mqtt.replaying import check_arrivals


class DeadLettersWanted(ArrivalsWanted):
    """Filter of dead letters, the latest arrival first; all given conditions must hold."""

    reason: ReasonCode | None = Field(None, description="Kind of the refusal")
    state: Literal["dead", "replayed"] | None = Field(None, description="State; default: all")
    since: Moment | None = Field(None, description="Only letters refused from this time")
    until: Moment | None = Field(None, description="Only letters refused before this time")


class ReplayLetters(Body):
    """Dead letters to judge again; all given conditions must hold, and one is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "schema"}]})

    arrival_ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(
        [], max_length=1000, description="Numbers of their arrivals"
    )
    reason: ReasonCode | None = Field(None, description="Kind of the refusal")
    since: Moment | None = Field(None, description="Only letters that arrived from this time")
    until: Moment | None = Field(None, description="Only letters that arrived before this time")
    dry_run: bool = Field(False, description="Dry run: count them only")

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if not (self.arrival_ids or self.reason or self.since or self.until):
            raise ValueError("expected arrival_ids, reason, since or until")
        if self.since and self.until and self.since >= self.until:
            raise ValueError("expected since before until")
        return self


async def list_mqtt_dead_letters(call: Call[DeadLettersWanted, Body]) -> MqttDeadLetters:
    """List messages that are not valid events, with the reason."""
    dead_letters_wanted = call.query
    chosen = EventFilter(
        topic=topic_filter(dead_letters_wanted.topic),
        kind=dead_letters_wanted.kind,
        reason_code=dead_letters_wanted.reason,
        is_dead=None if dead_letters_wanted.state is None else dead_letters_wanted.state == "dead",
        since=dead_letters_wanted.since,
        until=dead_letters_wanted.until,
        before=read_cursor(dead_letters_wanted.cursor),
        limit=dead_letters_wanted.limit,
    )
    seconds = call.services.read_seconds
    found_rows = await call.services.in_thread(
        find_dead_letters, call.services.warehouse, chosen, seconds=seconds
    )
    if not found_rows.rows:
        await call.services.in_thread(require_kind, call.services, dead_letters_wanted.kind)
    letters = [MqttDeadLetter.model_validate(row) for row in found_rows.rows]
    return MqttDeadLetters(letters=letters, next_cursor=next_cursor(found_rows))


async def replay_mqtt_dead_letters(call: Call[Parameters, ReplayLetters]) -> Launched:
    """Launch a run that judges dead letters again, by the present kinds.

    Those that are events now are mirrored.
    """
    replay_request = call.body
    config: dict[str, Any] = {
        "arrival_ids": replay_request.arrival_ids,
        "dry_run": replay_request.dry_run,
    }
    if replay_request.reason is not None:
        config["reason_code"] = replay_request.reason
    for name in ("since", "until"):
        at: datetime | None = getattr(replay_request, name)
        if at is not None:
            config[name] = at.isoformat()
    return await launch(
        call,
        Launch(
            REPLAY_JOB,
            config={"ops": {REPLAY_OP: {"config": config}}},
            check=partial(check_arrivals, call.services.warehouse, replay_request.arrival_ids),
        ),
    )


OPERATIONS = (
    Operation(
        "GET",
        "/mqtt/dead-letters",
        "viewer",
        "List MQTT dead letters",
        list_mqtt_dead_letters,
        query=DeadLettersWanted,
        answer=MqttDeadLetters,
    ),
    Operation(
        "POST",
        "/mqtt/dead-letters/replay",
        "operator",
        "Replay MQTT dead letters",
        replay_mqtt_dead_letters,
        body=ReplayLetters,
        answer=Launched,
        headers=IDEMPOTENCY_HEADER,
        status=202,
    ),
)
