"""MQTT: events, dead letters and project state as DataFrames, and events as they arrive."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel

from orchestration_project.client.asking import Requests, frame_of_models, new_key, quoted
from orchestration_project.engine.contracts.api.messages import (
    MqttBridges,
    MqttComponent,
    MqttDeadLetter,
    MqttDeadLetters,
    MqttDependency,
    MqttEntity,
    MqttEvent,
    MqttEvents,
    MqttMetric,
    MqttProject,
    MqttReceived,
    MqttTask,
)
from orchestration_project.engine.contracts.api.models import Page
from orchestration_project.engine.contracts.api.runs import Launched

if TYPE_CHECKING:
    import pandas as pd

PAGE_ROWS = 1000
MAX_ROWS = 100_000

Kind = Literal["projects", "components", "tasks"]
Row = TypeVar("Row", bound=BaseModel)


class MqttMethods(Requests):
    """The part of the client that is about MQTT events and what they say of projects."""

    def mqtt_events(
        self,
        *,
        topic: str | None = None,
        kind: str | None = None,
        trace: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        max_rows: int = MAX_ROWS,
    ) -> "pd.DataFrame":
        """Return events of the mirror, the latest arrival first; payloads are JSON text.

        Args:
            topic: Topic filter, such as ``tracker/events/+/42``; None: all topics.
            kind: Kind, such as ``project.updated``; None: all.
            trace: Trace, a UUID; None: all.
            since: Only events from this time, by their sender.
            until: Only events before this time, by their sender.
            max_rows: Maximum number of rows.
        """
        query = {"topic": topic, "kind": kind, "trace": trace, "since": since, "until": until}
        pages = self._pages("/mqtt/events", MqttEvents, **query, limit=PAGE_ROWS)
        events = (event for page in pages for event in page.events)
        return frame_of_models(MqttEvent, islice(events, max_rows))

    def mqtt_dead_letters(
        self,
        *,
        topic: str | None = None,
        kind: str | None = None,
        reason: str | None = None,
        state: Literal["dead", "replayed"] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        max_rows: int = MAX_ROWS,
    ) -> "pd.DataFrame":
        """Return messages that are not valid events, the latest arrival first.

        Args:
            topic: Topic filter; None: all topics.
            kind: Kind of the event, where it was readable; None: all.
            reason: Kind of the refusal, such as ``not_json``; None: all.
            state: State; None: all.
            since: Only letters refused from this time.
            until: Only letters refused before this time.
            max_rows: Maximum number of rows.
        """
        query = {"topic": topic, "kind": kind, "reason": reason, "state": state}
        pages = self._pages(
            "/mqtt/dead-letters",
            MqttDeadLetters,
            **query,
            since=since,
            until=until,
            limit=PAGE_ROWS,
        )
        letters = (letter for page in pages for letter in page.letters)
        return frame_of_models(MqttDeadLetter, islice(letters, max_rows))

    def mqtt_bridges(self) -> MqttBridges:
        """Return the bridges to brokers, and counts of what waits."""
        return self._get("/mqtt/bridges", MqttBridges)

    def mqtt_projects(
        self, *, status: str | None = None, owner_id: str | None = None
    ) -> "pd.DataFrame":
        """Return projects, by ID."""
        return self._mqtt_frame("projects", MqttProject, status=status, owner_id=owner_id)

    def mqtt_components(
        self, *, project_id: str | None = None, status: str | None = None
    ) -> "pd.DataFrame":
        """Return components of projects, by ID."""
        return self._mqtt_frame("components", MqttComponent, project_id=project_id, status=status)

    def mqtt_dependencies(
        self, *, component_id: str | None = None, depends_on_id: str | None = None
    ) -> "pd.DataFrame":
        """Return components and others that they need first."""
        query = {"component_id": component_id, "depends_on_id": depends_on_id}
        return self._mqtt_frame("component-dependencies", MqttDependency, **query)

    def mqtt_tasks(
        self,
        *,
        project_id: str | None = None,
        component_id: str | None = None,
        status: str | None = None,
        assignee_id: str | None = None,
    ) -> "pd.DataFrame":
        """Return tasks, by ID."""
        query = {"project_id": project_id, "component_id": component_id, "status": status}
        return self._mqtt_frame("tasks", MqttTask, **query, assignee_id=assignee_id)

    def mqtt_metrics(
        self, *, subject_id: str | None = None, name: str | None = None
    ) -> "pd.DataFrame":
        """Return metrics of entities, by entity, name and time."""
        return self._mqtt_frame("metrics", MqttMetric, subject_id=subject_id, name=name)

    def mqtt_entity(self, kind: Kind, entity_id: str) -> MqttEntity:
        """Return a project, component or task."""
        return self._get(f"/mqtt/{kind}/{quoted(entity_id)}", MqttEntity)

    def mqtt_create(
        self,
        kind: Kind,
        fields: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> MqttEntity:
        """Create a project, component or task, and publish its event.

        Args:
            kind: What is created.
            fields: Its fields, such as ``{"name": "Apollo"}``.
            idempotency_key: Makes the call safe to repeat; None: a new key.
        """
        return self._mqtt_ask("POST", f"/mqtt/{kind}", fields, idempotency_key)

    def mqtt_update(
        self,
        kind: Kind,
        entity_id: str,
        fields: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
    ) -> MqttEntity:
        """Update the given fields of a project, component or task; None empties a field."""
        path = f"/mqtt/{kind}/{quoted(entity_id)}"
        return self._mqtt_ask("POST", path, fields, idempotency_key)

    def mqtt_delete(
        self, kind: Kind, entity_id: str, *, idempotency_key: str | None = None
    ) -> MqttEntity:
        """Delete a project, component or task."""
        path = f"/mqtt/{kind}/{quoted(entity_id)}"
        return self._mqtt_ask("DELETE", path, None, idempotency_key)

    def mqtt_replay_dead_letters(
        self,
        *,
        arrival_ids: Sequence[int] = (),
        reason: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Launched:
        """Launch a run that judges dead letters again, by the present kinds.

        Args:
            arrival_ids: Numbers of their arrivals; empty: any.
            reason: Kind of the refusal, such as ``schema``; None: any.
            since: Only letters that arrived from this time.
            until: Only letters that arrived before this time.
            dry_run: Count them only.
            idempotency_key: Makes the call safe to repeat; None: a new key.
        """
        body = {
            "arrival_ids": arrival_ids,
            "reason": reason,
            "dry_run": dry_run,
            "since": since,
            "until": until,
        }
        key = idempotency_key or new_key()
        return self._post("/mqtt/dead-letters/replay", body, Launched, key=key)

    def mqtt_stream(
        self, topic: str | None = None, *, after: int | None = None
    ) -> Iterator[MqttReceived]:
        """Yield valid events as they arrive, without an end; a broken connection is resumed.

        Args:
            topic: Topic filter; None: all topics.
            after: Arrival after which it begins; None: with what arrives from now.

        Raises:
            ApiError: The gateway does not give it, such as after the key was revoked.
            httpx.TransportError: For a minute it could not be reached, or sent nothing.
        """
        last = None if after is None else str(after)
        for sent in self._transport.follow("/mqtt/stream", {"topic": topic}, last=last):
            if sent.data:
                yield MqttReceived.model_validate_json(sent.data)

    def _mqtt_ask(
        self, method: str, path: str, fields: Mapping[str, Any] | None, key: str | None
    ) -> MqttEntity:
        answer = self._transport.ask(method, path, body=fields, key=key or new_key())
        return MqttEntity.model_validate_json(answer.content)

    def _mqtt_frame(self, path: str, model: type[Row], **query: str | None) -> "pd.DataFrame":
        pages = self._pages(f"/mqtt/{path}", Page, **query, limit=PAGE_ROWS)
        rows: Sequence[dict[str, Any]] = [row for page in pages for row in page.rows]
        return frame_of_models(model, map(model.model_validate, rows))
