"""A run of a plugin, and a request of one of its endpoints: started, served, loaded, recorded."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from orchestration_project.domains.plugins.budgets import ENDPOINT_SECONDS, Spending
from orchestration_project.domains.plugins.judging import Judge
from orchestration_project.domains.plugins.manifest import Budget, validator_of
from orchestration_project.domains.plugins.pages import page_markdown
from orchestration_project.domains.plugins.protocol import (
    CallName,
    Page,
    escaped,
    marked_lines,
    start_line,
)
from orchestration_project.domains.plugins.settings import PluginsSettings
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.warehouse import Warehouse, WriteResult
from orchestration_project.errors import ConfigurationError, ContractError, OrchestrationError
from orchestration_project.resources.plugins.acting import ActionApplier
from orchestration_project.resources.plugins.child import ChildError, PluginProcess
from orchestration_project.resources.plugins.fetching import Fetcher, open_fetcher
from orchestration_project.resources.plugins.host import Host, LogLine, Outcome
from orchestration_project.resources.plugins.isolation import (
    ENFORCED,
    MIB,
    NOT_ENFORCED,
    ChildSpec,
    cgroups_of,
    isolation_level,
)
from orchestration_project.resources.plugins.loading import Emissions
from orchestration_project.resources.plugins.records import (
    CallRecorder,
    forget_old_calls,
    reason_to_disable,
    recent_violations,
    state_of,
)
from orchestration_project.resources.plugins.state import (
    BY_VIOLATIONS,
    Grant,
    StoredPlugin,
    disable,
)
from orchestration_project.resources.plugins.store import folder_of
from orchestration_project.settings import Settings

ENABLED = "enabled"


class EndpointAnswer(NamedTuple):
    """Answer of an endpoint: its media type and a value of JSON, or a text."""

    content_type: str
    body: Any


@dataclass(frozen=True)
class PluginResult:
    """Result of a run of a plugin.

    Attributes:
        spending: What it used of its budget.
        written: Loaded row sets, by name.
        events: How many events and actions went to the outbox.
        actions: Actions that were due, counted by done, waiting and dead.
        pages: Pages as it sent them.
        isolation: Isolation of its process in words.
    """

    spending: Spending
    written: Mapping[str, WriteResult[None]]
    events: int
    actions: Mapping[str, int]
    pages: list[Page]
    isolation: str

    @property
    def page_texts(self) -> list[str]:
        """Pages as Markdown that a user interface may show."""
        return [page_markdown(page) for page in self.pages]

    @property
    def metadata(self) -> dict[str, str | int]:
        """Figures of the run, by name."""
        written = self.written.values()
        counts: dict[str, str | int] = {
            "rows": self.spending.row_count,
            "rows_added": sum(write_result.rows_added for write_result in written),
            "rows_changed": sum(write_result.rows_changed for write_result in written),
            "rows_removed": sum(write_result.rows_removed for write_result in written),
            "requests": self.spending.request_count,
            "bytes": self.spending.byte_count,
            "outbox_events": self.events,
            "isolation": self.isolation,
        }
        return counts | {f"actions_{state}": count for state, count in self.actions.items()}


def run_plugin(
    stored: StoredPlugin,
    *,
    settings: Settings,
    warehouse: Warehouse,
    captures: Captures,
    clock: Clock,
    run_id: str,
    partition: str | None = None,
    config: Mapping[str, Any] | None = None,
    log: LogLine = lambda _level, _text: None,
) -> PluginResult:
    """Run a plugin, and load what it emits in one transaction, all or nothing.

    Args:
        stored: The plugin as it was read at the start of the run.
        settings: Settings.
        warehouse: Database.
        captures: Store of what it emits.
        clock: Times.
        run_id: Dagster's run.
        partition: Partition; None: it has none.
        config: Run config, which its ``config_schema`` must accept.
        log: Writes its log lines, as level and text.

    Raises:
        ConfigurationError: It is not enabled, cannot be isolated, its folder or run config differ
            from what was added, or a secret is not set.
        ContractError: It broke the protocol or its budget, was refused something, raised or sent
            invalid rows. Nothing is loaded.
        OrchestrationError: Database or artifact store cannot be used.
    """
    grant = _require_enabled(stored)
    valid_config = _validate_config(stored, config or {})
    emissions = Emissions(stored.manifest, partition or "", settings.scratch_path)
    emissions.read_states(warehouse, stored.permissions.tables)
    with _open_session(
        stored, grant.budget, settings, warehouse, clock, run_id=run_id, log=log, call="run"
    ) as session:
        outcome = session.serve(emissions, partition=partition, config=valid_config, endpoint=None)
        session.refuse_violations()
        _require_state(warehouse, stored)
        with_rows = emissions.load(warehouse, captures, clock, run_id=run_id)
        written = dict(zip(emissions.row_sets, with_rows, strict=True))
        actions: Mapping[str, int] = {}
        if stored.permissions.actions:
            actions = ActionApplier(
                stored.id,
                session.judge,
                warehouse,
                clock,
                session.recorder,
                session.fetcher(),
                run_id,
            ).apply_due()
    isolation = NOT_ENFORCED if isolation_level(settings) == "process" else ENFORCED
    events = len(emissions.events)
    return PluginResult(session.spending, written, events, actions, outcome.pages, isolation)


def call_endpoint(
    stored: StoredPlugin,
    endpoint: str,
    parameters: Mapping[str, str],
    *,
    settings: Settings,
    warehouse: Warehouse,
    clock: Clock,
    request_id: str,
    log: LogLine = lambda _level, _text: None,
) -> EndpointAnswer:
    """Return the answer of a granted endpoint, which may read and answer alone.

    Raises:
        ConfigurationError: The plugin is not enabled or has no such endpoint.
        ContractError: It gave no answer, or as `run_plugin`.
        OrchestrationError: The database cannot be used.
    """
    grant = _require_enabled(stored)
    if endpoint not in [
        endpoint_permission.name for endpoint_permission in stored.permissions.endpoints
    ]:
        raise ConfigurationError(
            f"the plugin {stored.id} has no endpoint {endpoint[:60]!r}",
            expected=", ".join(
                endpoint_permission.name for endpoint_permission in stored.permissions.endpoints
            )
            or "none",
            remedy="grant it: orchestrate plugins grant ID --endpoint NAME",
        )
    seconds = min(grant.budget.seconds, ENDPOINT_SECONDS)
    budget = grant.budget.model_copy(update={"seconds": seconds, "requests": 0, "rows": 0})
    with _open_session(
        stored, budget, settings, warehouse, clock, run_id=request_id, log=log, call="endpoint"
    ) as session:
        outcome = session.serve(
            Emissions(stored.manifest, "", settings.scratch_path),
            partition=None,
            config={},
            endpoint={"name": endpoint, "parameters": dict(parameters)},
        )
        session.refuse_violations()
    if outcome.answer is None:
        raise ContractError(
            f"the plugin {stored.id} gave no answer",
            expected="a message answer before the end",
            remedy="correct the endpoint of the plugin",
        )
    return EndpointAnswer(outcome.answer.content_type, outcome.answer.body)


@dataclass
class _Session:
    """One process of a plugin with all that serves it."""

    stored: StoredPlugin
    budget: Budget
    settings: Settings
    warehouse: Warehouse
    clock: Clock
    run_id: str
    log: LogLine
    call: CallName
    resources: ExitStack
    judge: Judge
    recorder: CallRecorder
    spending: Spending
    _fetcher: Fetcher | None = None
    _process: PluginProcess | None = None

    def fetcher(self) -> Fetcher:
        """Return the fetcher that makes its requests, opened at the first one."""
        if self._fetcher is None:
            opened = open_fetcher(
                self.settings, plugin=self.stored.id, budget=self.budget, check=self._check
            )
            self._fetcher = self.resources.enter_context(opened)
        return self._fetcher

    def serve(
        self,
        emissions: Emissions,
        *,
        partition: str | None,
        config: Mapping[str, Any],
        endpoint: Mapping[str, Any] | None,
    ) -> Outcome:
        """Start the process, and serve it until its end."""
        folder = folder_of(self.settings, open_store(self.settings), self.stored)
        spec = ChildSpec(
            folder,
            self.stored.manifest.entry,
            self.budget.memory_mib * MIB,
            self.budget.seconds + 1,
            _find_folders(self.stored) if self.call == "run" else {},
            cgroups_of(self.settings),
        )
        host = Host(
            self.judge,
            self.spending,
            self.recorder,
            emissions,
            self.fetcher,
            self.warehouse,
            self._log,
        )
        process = PluginProcess(
            isolation_level(self.settings),
            spec,
            seconds=self.budget.seconds,
            stop_reason=self._stop_reason,
            shows_output=self.call == "run",
        )
        with process:
            self._process = process
            try:
                start = start_line(
                    self.call,
                    config=config,
                    partition=partition,
                    run_id=self.run_id,
                    endpoint=endpoint,
                    folders=process.folders,
                )
                host.serve(process, start)
            finally:
                self._process = None
                if text := process.log_text:
                    self._log("info", f"output of the plugin:\n{text}")
        return host.outcome

    def refuse_violations(self) -> None:
        """Fail a run that was refused something.

        Raises:
            ContractError: It was.
        """
        if self.recorder.violations:
            shown_names = [
                f"{permission}: {escaped(what)}"
                for permission, what in self.recorder.violations[:5]
            ]
            raise ContractError(
                f"the plugin {self.stored.id} was refused what it requested; nothing is loaded",
                expected="calls within its granted permissions",
                found="; ".join(shown_names),
                remedy="grant the permission in a new version, or disable the plugin",
            )

    def _log(self, level: str, text: str) -> None:
        self.log(level, marked_lines(self.stored.id, text))

    def _check(self) -> None:
        if self._process is not None:
            self._process.require_running()

    def _stop_reason(self) -> str:
        state = state_of(self.warehouse, self.stored.id)
        return "" if state == ENABLED else f"the plugin is {state or 'removed'}"


@contextmanager
def _open_session(
    stored: StoredPlugin,
    budget: Budget,
    settings: Settings,
    warehouse: Warehouse,
    clock: Clock,
    *,
    run_id: str,
    log: LogLine,
    call: CallName,
) -> Iterator[_Session]:
    """Give a session; at its end calls are written, and a plugin with violations is disabled."""
    recorder = CallRecorder(warehouse, clock, stored.id, run_id)
    judge = Judge(stored.permissions, call)
    with ExitStack() as resources:
        session = _Session(
            stored,
            budget,
            settings,
            warehouse,
            clock,
            run_id,
            log,
            call,
            resources,
            judge,
            recorder,
            Spending(budget),
        )
        try:
            yield session
        except OrchestrationError as error:
            raise error.within(plugin=stored.id, version=stored.version) from error.__cause__
        finally:
            recorder.write()
            if recorder.violations and call == "run":
                _disable_if_due(stored, warehouse, clock, run_id=run_id)
            kept_duration = timedelta(days=PluginsSettings.of(settings).plugins_calls_days)
            forget_old_calls(warehouse, stored.id, clock.now() - kept_duration)


def _disable_if_due(
    stored: StoredPlugin, warehouse: Warehouse, clock: Clock, *, run_id: str
) -> None:
    reason = reason_to_disable(recent_violations(warehouse, stored.id))
    if reason:
        disable(warehouse, stored.id, BY_VIOLATIONS, reason, clock.now(), run_id=run_id)


def _require_enabled(stored: StoredPlugin) -> Grant:
    if stored.state != ENABLED or stored.grant is None:
        raise ConfigurationError(
            f"the plugin {stored.id} is not enabled",
            expected="state enabled, with a current grant",
            found="; ".join(filter(None, (f"state {stored.state}", stored.reason))),
            remedy=f"grant and enable it: orchestrate plugins enable {stored.id}",
        )
    return stored.grant


def _require_state(warehouse: Warehouse, stored: StoredPlugin) -> None:
    """Refuse to load what a plugin emitted that was disabled meanwhile."""
    state = state_of(warehouse, stored.id)
    if state != ENABLED:
        raise ChildError(
            "the plugin was stopped; nothing is loaded",
            found=f"the plugin is {state or 'removed'}",
            remedy=f"enable it again: orchestrate plugins enable {stored.id}",
        )


def _validate_config(stored: StoredPlugin, config: Mapping[str, Any]) -> Mapping[str, Any]:
    validator = validator_of(stored.manifest.config_schema, "config_schema")
    valid_config = dict(config)
    if not validator.is_valid(valid_config):
        error = next(iter(validator.iter_errors(valid_config)))
        text = ".".join(str(part) for part in error.instance_path)[:60] or "config"
        raise ConfigurationError(
            f"invalid run config of the plugin {stored.id}",
            expected="config as config_schema of plugin.yaml says",
            found=f"{text}: {error.message}"[:500],
            remedy="correct the run config",
        )
    return valid_config


def _find_folders(stored: StoredPlugin) -> dict[str, Path]:
    """Return the folders of the host that were granted, by name.

    Raises:
        ConfigurationError: One is not a folder, or was not named in the grant.
    """
    granted = {} if stored.grant is None else stored.grant.folders
    folders: dict[str, Path] = {}
    for name in stored.permissions.folders:
        path = Path(granted.get(name, ""))
        if not granted.get(name) or not path.is_absolute() or not path.is_dir():
            raise ConfigurationError(
                f"the folder {name} of the plugin {stored.id} cannot be used",
                expected="an absolute path of a folder",
                found=granted.get(name) or "none",
                remedy="create it, or grant another one: orchestrate plugins grant ID --folder "
                f"{name}=/path",
            )
        folders[name] = path.resolve()
    return folders
