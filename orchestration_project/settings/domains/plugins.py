"""Settings of plugins: how their processes are isolated, and how long calls are kept."""

from typing import ClassVar, Literal

from pydantic import Field

from orchestration_project.settings.about import about
from orchestration_project.settings.settings import Settings


class PluginsSettings(Settings):
    """Plugins of third parties; their secrets are in PLUGIN_SECRET_<NAME>."""

    domain: ClassVar[str] = "plugins"

    plugins_isolation: Literal["namespaces", "process", "off"] = Field(
        "namespaces",
        description="Isolation of plugins: namespaces by bubblewrap; process (limits alone: files "
        "and hosts are not enforced); off (no plugin is started).",
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
