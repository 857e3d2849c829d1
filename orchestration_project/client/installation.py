"""The installation: presets, schedules and sensors, and how it stands."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from orchestration_project.client.asking import Requests, new_key, quoted
from orchestration_project.engine.contracts.api.attention import (
    AttentionEntries,
    AttentionEntry,
    AttentionResult,
    ReceivedAlerts,
)
from orchestration_project.engine.contracts.api.edits import (
    ApprovalList,
    ApprovalShown,
    FlagEdited,
    FlagList,
    PauseList,
    PauseShown,
    ScheduleEdited,
    ScheduleList,
    ScheduleShown,
)
from orchestration_project.engine.contracts.api.models import (
    AccessEntries,
    AccessEntry,
    Automation,
    Automations,
    Config,
    ControlTower,
    Preset,
    PresetList,
    Preview,
    Readiness,
    Sessions,
    Switched,
)
from orchestration_project.engine.contracts.api.routing import (
    RoutingDeadLetter,
    RoutingDeadLetters,
    RoutingDryRun,
    RoutingRules,
)
from orchestration_project.engine.contracts.api.runs import Launched
from orchestration_project.engine.contracts.api.traces import Trace

Kind = Literal["schedule", "sensor"]


class InstallationMethods(Requests):
    """The part of the client that is about the installation itself."""

    def presets(self) -> list[Preset]:
        """Return the presets that there are, and which is in force."""
        return self._get("/presets", PresetList).presets

    def preview_preset(self, name: str) -> Preview:
        """Return the changes that a preset would make."""
        return self._get(f"/presets/{quoted(name)}", Preview)

    def apply_preset(self, name: str, *, why: str) -> Launched:
        """Apply a preset to later runs of its job."""
        return self._post(f"/presets/{quoted(name)}/apply", {"why": why}, Launched, key=new_key())

    def automations(self, kind: Kind, *, ticks: int = 5) -> list[Automation]:
        """Return the schedules or sensors, with so many last ticks of each."""
        return self._get(f"/{kind}s", Automations, ticks=ticks).automations

    def switch(self, kind: Kind, name: str, *, on: bool) -> Switched:
        """Switch a schedule or sensor on or off."""
        return self._post(f"/{kind}s/{quoted(name)}/{'start' if on else 'stop'}", {}, Switched)

    def readiness(self) -> Readiness:
        """Return the latest finding of each dependency."""
        return self._get("/readiness", Readiness)

    def config(self) -> Config:
        """Return the configuration in effect, without secrets."""
        return self._get("/config", Config)

    def api_version(self) -> str:
        """Return the version of the API, such as 1."""
        return self._transport.ask("GET", "/openapi.json").json()["info"]["version"]

    def plugin_endpoint(self, plugin: str, endpoint: str, **parameters: str) -> Any:
        """Return the answer of a plugin's endpoint: a JSON value or a text."""
        path = f"/plugins/{quoted(plugin)}/endpoints/{quoted(endpoint)}"
        answer = self._transport.ask("GET", path, query=parameters)
        is_json = answer.headers["content-type"].startswith("application/json")
        return answer.json() if is_json else answer.text

    def trace(self, trace_id: str) -> Trace:
        """Return the events of a trace, by its 32 hex digits."""
        return self._get(f"/traces/{quoted(trace_id)}", Trace)

    def sessions(
        self,
        *,
        since: datetime | None = None,
        domain: str | None = None,
        state: str | None = None,
        limit: int = 50,
    ) -> Sessions:
        """Return sessions of runs that were started together, with their results."""
        query = {"since": since, "domain": domain, "state": state}
        return self._get("/sessions", Sessions, **query, limit=limit)

    def access_audit(
        self,
        *,
        user: str | None = None,
        operation: str | None = None,
        outcome: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[AccessEntry]:
        """Yield logins, refused requests and steps of changes, the latest first; for admins."""
        query = {"user": user, "operation": operation, "outcome": outcome}
        for page in self._pages("/access-audit", AccessEntries, **query, since=since, until=until):
            yield from page.entries

    def control_tower(self) -> ControlTower:
        """Return how domains and assets stand."""
        return self._get("/control-tower", ControlTower)

    def schedules(self) -> list[ScheduleShown]:
        """Return the schedules that are data, with their next runs."""
        return self._get("/operations/schedules", ScheduleList).schedules

    def create_schedule(self, name: str, **fields: Any) -> ScheduleEdited:
        """Create a schedule: ``job``, ``cron`` and other fields."""
        return self._post("/operations/schedules", {"name": name, **fields}, ScheduleEdited)

    def change_schedule(self, name: str, *, expected_version: int, **fields: Any) -> ScheduleEdited:
        """Change fields of a schedule; ``is_enabled`` pauses and resumes it."""
        body = {"expected_version": expected_version, **fields}
        answer = self._transport.ask("POST", f"/operations/schedules/{quoted(name)}", body=body)
        return ScheduleEdited.model_validate_json(answer.content)

    def delete_schedule(self, name: str, *, expected_version: int) -> ScheduleEdited:
        """Delete a schedule."""
        answer = self._transport.ask(
            "DELETE",
            f"/operations/schedules/{quoted(name)}",
            query={"expected_version": expected_version},
        )
        return ScheduleEdited.model_validate_json(answer.content)

    def try_schedule(
        self, name: str, *, expected_version: int | None = None, **fields: Any
    ) -> ScheduleEdited:
        """Return the changes of an edit; without ``expected_version``, of a new schedule."""
        body = {"expected_version": expected_version, **fields}
        return self._post(f"/operations/schedules/{quoted(name)}/dry-run", body, ScheduleEdited)

    def receive_alerts(self, notification: Mapping[str, Any]) -> ReceivedAlerts:
        """Store alerts of a notification of Alertmanager, as its webhook sends them."""
        return self._post("/alerts/alertmanager", notification, ReceivedAlerts)

    def pauses(self) -> list[PauseShown]:
        """Return the pauses in effect."""
        return self._get("/operations/pauses", PauseList).pauses

    def pause(self, subject: str, *, reason: str, until: datetime | None = None) -> PauseShown:
        """Start no new run of a domain, an asset, ``source:<name>``, or of ``all``."""
        body = {"subject": subject, "reason": reason, "until": until}
        return self._post("/operations/pauses", body, PauseShown)

    def resume(self, subject: str) -> PauseShown:
        """End a pause."""
        return self._post("/operations/pauses/resume", {"subject": subject}, PauseShown)

    def attention(
        self,
        *,
        kind: str | None = None,
        domain: str | None = None,
        ignored: bool = False,
        page: int = 1,
    ) -> AttentionEntries:
        """Return a page of what needs a person, the most important and newest first."""
        query = {"kind": kind, "domain": domain, "ignored": ignored, "page": page}
        return self._get("/attention", AttentionEntries, **query)

    def attention_entry(self, entry_id: str) -> AttentionEntry:
        """Return an entry that needs a person, with the actions that one's role has."""
        return self._get(f"/attention/{quoted(entry_id)}", AttentionEntry)

    def act_on_attention(
        self, entry_id: str, action: str, *, reason: str = "", until: datetime | None = None
    ) -> AttentionResult:
        """Answer an entry by one of its actions."""
        body = {"action": action, "reason": reason, "until": until}
        return self._post(f"/attention/{quoted(entry_id)}/actions", body, AttentionResult)

    def retry_attention(self, kind: str, *, domain: str | None = None) -> AttentionResult:
        """Retry all entries of a kind: of a domain, or of all."""
        body = {"kind": kind, "domain": domain}
        return self._post("/attention/retry", body, AttentionResult)

    def approvals(self) -> list[ApprovalShown]:
        """Return the requests of actions that need a second person, the newest first."""
        return self._get("/approvals", ApprovalList).approvals

    def request_approval(self, approval_id: str) -> ApprovalShown:
        """Claim an action that was started without a login."""
        return self._post(f"/approvals/{quoted(approval_id)}/request", {}, ApprovalShown)

    def confirm_approval(self, approval_id: str, *, sha256: str) -> ApprovalShown:
        """Confirm a request as another person; ``sha256`` is that of what was read."""
        body = {"sha256": sha256}
        return self._post(f"/approvals/{quoted(approval_id)}/confirm", body, ApprovalShown)

    def refuse_approval(self, approval_id: str, *, reason: str) -> ApprovalShown:
        """Refuse a request, or withdraw one's own."""
        body = {"reason": reason}
        return self._post(f"/approvals/{quoted(approval_id)}/refuse", body, ApprovalShown)

    def flags(self) -> FlagList:
        """Return the flags with what uses them, and their problems."""
        return self._get("/operations/flags", FlagList)

    def create_flag(self, name: str, **fields: Any) -> FlagEdited:
        """Create a flag: ``owner``, and ``share``, ``listed_keys`` or ``expires_at``."""
        return self._post("/operations/flags", {"name": name, **fields}, FlagEdited)

    def change_flag(self, name: str, *, expected_version: int, **fields: Any) -> FlagEdited:
        """Change fields of a flag."""
        body = {"expected_version": expected_version, **fields}
        answer = self._transport.ask("POST", f"/operations/flags/{quoted(name)}", body=body)
        return FlagEdited.model_validate_json(answer.content)

    def delete_flag(self, name: str, *, expected_version: int) -> FlagEdited:
        """Delete a flag that nothing uses."""
        query = {"expected_version": expected_version}
        answer = self._transport.ask("DELETE", f"/operations/flags/{quoted(name)}", query=query)
        return FlagEdited.model_validate_json(answer.content)

    def try_flag(
        self, name: str, *, expected_version: int | None = None, **fields: Any
    ) -> FlagEdited:
        """Return the changes of an edit; without ``expected_version``, of a new flag."""
        body = {"expected_version": expected_version, **fields}
        return self._post(f"/operations/flags/{quoted(name)}/dry-run", body, FlagEdited)

    def routing_rules(self) -> RoutingRules:
        """Return the rules of webhooks in effect, and their version."""
        return self._get("/events/routing-rules", RoutingRules)

    def try_routing_rules(
        self, rules: Sequence[Any] | str, *, delivery_count: int = 500
    ) -> RoutingDryRun:
        """Return the actions for the latest deliveries that rules (list or YAML) would change."""
        body = {"rules": rules, "delivery_count": delivery_count}
        return self._post("/events/routing-rules/dry-run", body, RoutingDryRun)

    def edit_routing_rules(self, rules: Sequence[Any] | str, *, based_on: str) -> Launched:
        """Put rules into effect, unless others than version ``based_on`` are."""
        body = {"rules": rules, "based_on": based_on}
        return self._post("/events/routing-rules", body, Launched, key=new_key())

    def routing_dead_letters(self, *, limit: int = 100) -> list[RoutingDeadLetter]:
        """Return the dead letters of routing that are not replayed, the latest first."""
        path = "/events/routing-dead-letters"
        return self._get(path, RoutingDeadLetters, limit=limit).letters
