"""Extensions by third parties, plugins: listed, added, granted, enabled and stopped."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from orchestration_project.client.asking import Requests, quoted
from orchestration_project.engine.contracts.api.extensions import (
    PluginAdded,
    PluginDetails,
    PluginList,
    PluginShown,
    PublisherRevoked,
)


class PluginMethods(Requests):
    """The part of the client that is about plugins; only admins edit them."""

    def plugins(self) -> PluginList:
        """Return the plugins with their state, and the publishers."""
        return self._get("/plugins", PluginList)

    def plugin(self, plugin: str) -> PluginDetails:
        """Return a plugin, what it requests beside its grant, and each change of it."""
        return self._get(f"/plugins/{quoted(plugin)}", PluginDetails)

    def add_plugin(
        self,
        archive: bytes,
        *,
        sha256: str | None = None,
        allow_unsigned: bool = False,
        dry_run: bool = False,
    ) -> PluginAdded:
        """Add the plugin of a zip archive, or verify it with ``dry_run``.

        Args:
            archive: Its bytes.
            sha256: Expected hash of them.
            allow_unsigned: Accept a plugin without a trusted signature.
            dry_run: Only return what it requests.
        """
        query = {"allow_unsigned": str(allow_unsigned).lower(), "dry_run": str(dry_run).lower()}
        query |= {"sha256": sha256} if sha256 else {}
        headers = {"content-type": "application/zip"}
        answer = self._transport.put(f"/plugins?{urlencode(query)}", archive, headers)
        return PluginAdded.model_validate_json(answer.content)

    def grant_plugin(
        self,
        plugin: str,
        *,
        permissions: Mapping[str, Sequence[str]] | None = None,
        folders: Mapping[str, str] | None = None,
        expected_version: int | None = None,
        reason: str = "",
    ) -> PluginShown:
        """Grant all that a plugin requests, or the named permissions by kind."""
        body = {
            "permissions": permissions or {},
            "folders": folders or {},
            "expected_version": expected_version,
            "reason": reason,
        }
        return self._post(f"/plugins/{quoted(plugin)}/grant", body, PluginShown)

    def enable_plugin(
        self,
        plugin: str,
        *,
        share: float | None = None,
        listed_keys: Sequence[str] | None = None,
        expected_version: int | None = None,
    ) -> PluginShown:
        """Let a granted plugin run, for a share of its partitions and the listed ones."""
        body = {
            "share": share,
            "listed_keys": listed_keys,
            "expected_version": expected_version,
        }
        return self._post(f"/plugins/{quoted(plugin)}/enable", body, PluginShown)

    def disable_plugin(
        self, plugin: str, reason: str, *, expected_version: int | None = None
    ) -> PluginShown:
        """Stop a plugin at once."""
        body = {"reason": reason, "expected_version": expected_version}
        return self._post(f"/plugins/{quoted(plugin)}/disable", body, PluginShown)

    def refuse_plugin(
        self, plugin: str, reason: str, *, expected_version: int | None = None
    ) -> PluginShown:
        """Refuse a plugin after a review."""
        body = {"reason": reason, "expected_version": expected_version}
        return self._post(f"/plugins/{quoted(plugin)}/refuse", body, PluginShown)

    def remove_plugin(self, plugin: str) -> PluginShown:
        """Remove a plugin; its rows and the record of its changes stay."""
        answer = self._transport.ask("DELETE", f"/plugins/{quoted(plugin)}")
        return PluginShown.model_validate_json(answer.content)

    def trust_publisher(self, publisher: str, public_key: str) -> PluginList:
        """Trust the signatures of a publisher by its Ed25519 public key, Base64."""
        body = {"publisher": publisher, "public_key": public_key}
        return self._post("/plugins/publishers/trust", body, PluginList)

    def revoke_publisher(self, publisher: str) -> PublisherRevoked:
        """Trust a publisher no more, and disable its plugins."""
        return self._post("/plugins/publishers/revoke", {"publisher": publisher}, PublisherRevoked)
