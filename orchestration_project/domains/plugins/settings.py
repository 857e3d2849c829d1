"""Settings of plugins: how their processes are isolated, and how long calls are kept."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from orchestration_project.settings.settings import Settings
from orchestration_project.settings.values import about


class PluginsSettings(Settings):
    """Plugins of third parties; their secrets are in PLUGIN_SECRET_<NAME>."""

    domain: ClassVar[str] = "plugins"
    indicators: ClassVar[frozenset[str]] = frozenset({"freshness"})

    plugins_isolation: Literal["namespaces", "process", "off"] = Field(
        "namespaces",
        description="Isolation of plugins: namespaces by bubblewrap (no network, other process or "
        "file; /tmp has at most 64 MiB and 4,096 files); process (limits alone: files and hosts "
        "are not enforced, nor is /tmp bounded); off (no plugin is started). Both limit memory, "
        "CPU time and open files, and refuse new processes, System V and POSIX queues and shared "
        "memory, and memfd. Only namespaces count threads.",
        json_schema_extra=about(group="security"),
    )
    plugins_cgroup: Path | None = Field(
        None,
        description="Folder of a delegated cgroup v2 with memory and pids in "
        "cgroup.subtree_control, in which each run of a plugin has its own; empty: the limits of "
        "the process alone.",
        json_schema_extra=about(group="security"),
    )
    plugins_calls_days: int = Field(
        90,
        ge=1,
        le=36_500,
        description="Time for which calls and violations of plugins are kept; those of a plugin's "
        "latest 20 runs stay.",
        json_schema_extra=about(unit="days"),
    )
