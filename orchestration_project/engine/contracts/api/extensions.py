"""Models of the API's answers about plugins: their state, permissions, changes and advice."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class PluginShown(BaseModel):
    """A plugin that was added."""

    id: str = Field(description="ID in plugin.yaml")
    version: str = Field(description="Semantic version")
    sha256: str = Field(description="SHA-256 of the canonical archive")
    publisher: str = Field(description="Publisher")
    kind: str = Field(description="Kind: source, report or action")
    state: str = Field(description="State: added, granted, enabled, disabled or refused")
    share: float = Field(description="Share of partitions that it runs for, 0 to 1")
    listed_keys: list[str] = Field(description="Partitions that it always runs for")
    is_signed: bool = Field(description="Whether a trusted publisher signed it")
    reason: str | None = Field(description="Why it is disabled or refused; null: it is neither")
    version_number: int = Field(
        description="Number of its latest change; an edit names it as expected_version"
    )
    changed_by: str = Field(description="User of the latest change")
    changed_at: datetime = Field(description="Time of the latest change")
    next_step: str = Field(
        description="Step after which Dagster shows its asset; empty: it is not enabled"
    )


class PublisherShown(BaseModel):
    """A publisher of plugins."""

    publisher: str = Field(description="Name in plugin.yaml")
    public_key: str = Field(description="Ed25519 public key, Base64")
    state: str = Field(description="State: trusted or revoked")
    changed_by: str = Field(description="User of the latest change")
    changed_at: datetime = Field(description="Time of the latest change")


class PluginList(BaseModel):
    """The plugins and publishers."""

    plugins: list[PluginShown] = Field(description="By ID")
    publishers: list[PublisherShown] = Field(description="By name")


class PermissionShown(BaseModel):
    """A permission that is granted or asked for."""

    permission: str = Field(description="Kind of permission, or budget")
    name: str = Field(description="Name in it, such as a host")
    change: str = Field(description="Difference: added, wider, narrower, removed or same")
    granted: str = Field(description="Details of the granted one; empty: none")
    asked: str = Field(description="Details of what is asked for; empty: none")


class PluginChangeShown(BaseModel):
    """A change of a plugin."""

    version_number: int = Field(description="Number of the change, from 1")
    action: str = Field(description="Change: add, grant, enable, disable, refuse or remove")
    version: str = Field(description="Semantic version")
    sha256: str = Field(description="SHA-256 of the canonical archive")
    state: str = Field(description="State after the change")
    edited_by: str = Field(description="User")
    at: datetime = Field(description="Time of the change")
    run_id: str | None = Field(description="Dagster run of the change; null: no run")


class PluginDetails(BaseModel):
    """A plugin, its manifest, its permissions beside the granted ones, and its changes."""

    plugin: PluginShown = Field(description="Its state")
    manifest: dict[str, Any] = Field(description="Checked plugin.yaml")
    permissions: list[PermissionShown] = Field(description="Compared with the grant")
    changes: list[PluginChangeShown] = Field(description="Latest 100, the newest first")


class AdviceShown(BaseModel):
    """Something of the code to look at before a grant; it is not what enforces limits."""

    file: str = Field(description="Path in the plugin")
    line: int = Field(description="Line, from 1")
    what: str = Field(description="Statement, and its effect")


class PluginAdded(BaseModel):
    """A plugin that was added, or of a dry run one that would be."""

    dry_run: bool = Field(description="Whether nothing was written")
    id: str = Field(description="ID in plugin.yaml")
    version: str = Field(description="Semantic version")
    sha256: str = Field(description="SHA-256 of the canonical archive")
    is_signed: bool = Field(description="Whether a trusted publisher signed it")
    needs_grant: bool = Field(description="Whether it asks for more than was granted")
    permissions: list[PermissionShown] = Field(description="Compared with the grant")
    advice: list[AdviceShown] = Field(description="Lines of code to look at")
    plugin: PluginShown | None = Field(description="Its state; null: a dry run")


class PublisherRevoked(BaseModel):
    """A publisher that is trusted no more."""

    publisher: str = Field(description="Name in plugin.yaml")
    disabled_plugins: list[str] = Field(description="IDs of its plugins that were disabled")
