"""Plugins: listed, reviewed, added, granted, enabled and stopped; edits are for admins."""

import hashlib
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import Field, StringConstraints

from orchestration_project.domains.plugins.archives import MAX_ARCHIVE_BYTES, read_archive
from orchestration_project.domains.plugins.manifest import ID
from orchestration_project.engine.connections.artifacts import open_store
from orchestration_project.engine.contracts.api.extensions import (
    AdviceShown,
    PermissionShown,
    PluginAdded,
    PluginChangeShown,
    PluginDetails,
    PluginList,
    PluginShown,
    PublisherRevoked,
    PublisherShown,
)
from orchestration_project.errors import ConfigurationError, ContractError, OrchestrationError
from orchestration_project.gateway.api.audit import record
from orchestration_project.gateway.api.edits import VERSION
from orchestration_project.gateway.api.operation import Body, Call, Operation, Parameters
from orchestration_project.gateway.api.problems import ProblemError, problem_of
from orchestration_project.gateway.api.services import Services
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.grants import read_publishers
from orchestration_project.resources.plugins.reviewing import PluginConflictError
from orchestration_project.resources.plugins.state import (
    StoredPlugin,
    UnknownPluginError,
    changes_of,
    read_plugin,
    read_plugins,
    read_versions,
)

T = TypeVar("T")
PluginId = Annotated[str, StringConstraints(pattern=ID)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Names = Annotated[list[Text], Field(max_length=50)]


class PluginWanted(Parameters):
    """ID of a plugin."""

    plugin: PluginId = Field(examples=["rss"], description="ID of the plugin")


class Archive(Parameters):
    """Options of an addition."""

    sha256: str | None = Field(
        None, pattern=r"^[0-9a-fA-F]{64}$", description="Expected SHA-256 of the archive"
    )
    allow_unsigned: bool = Field(
        False, description="Whether a plugin without a trusted signature is accepted"
    )
    dry_run: bool = Field(False, description="Only verify the archive, and show what it asks for")


class PluginVersion(Body):
    """The change that an edit starts from."""

    expected_version: int | None = Field(None, ge=1, description=VERSION)


class NewGrant(PluginVersion):
    """Grant of all that is asked for, or of the named permissions."""

    permissions: dict[Text, Names] = Field(
        {}, description="Names by kind of permission; an omitted kind is granted as a whole"
    )
    folders: dict[Text, Text] = Field({}, description="Folder of the host by name in plugin.yaml")
    reason: str = Field("", max_length=500, description="Reason, for a second person")


class Share(PluginVersion):
    """Partitions of an enabled plugin; omitted fields keep their value."""

    share: float | None = Field(None, ge=0, le=1, description="Share of partitions, 0 to 1")
    listed_keys: Annotated[list[Text], Field(max_length=500)] | None = Field(
        None, description="Partitions that it always runs for"
    )


class Stop(PluginVersion):
    """Why a plugin is stopped."""

    reason: Text = Field(description="Reason, for the record of changes")


class TrustedPublisher(Body):
    """A publisher to trust."""

    publisher: Text = Field(description="Name in plugin.yaml")
    public_key: Text = Field(description="Ed25519 public key, Base64")


class RevokedPublisher(Body):
    """A publisher to trust no more."""

    publisher: Text = Field(description="Name in plugin.yaml")


async def list_plugins(call: Call[Parameters, Body]) -> PluginList:
    """List plugins with their state, and publishers."""
    return await call.services.in_thread(_list, call.services)


async def show_plugin(call: Call[PluginWanted, Body]) -> PluginDetails:
    """Return a plugin, what it asks for beside what was granted, and each change of it."""
    try:
        return await call.services.in_thread(_read_details, call.services, call.query.plugin)
    except UnknownPluginError as error:
        raise problem_of(error, 404) from error


async def add_plugin(call: Call[Archive, Body]) -> PluginAdded:
    """Verify and unpack a zip archive, the body of the request, and return what it asks for."""
    archive_request, content = call.query, bytearray()
    too_large = ProblemError(
        413, "the archive is too large", expected=f"at most {MAX_ARCHIVE_BYTES} bytes"
    )
    length = call.request.headers.get("content-length", "")
    if length.isascii() and length.isdecimal() and int(length) > MAX_ARCHIVE_BYTES:
        raise too_large
    async for piece in call.request.stream():
        content += piece
        if len(content) > MAX_ARCHIVE_BYTES:
            raise too_large

    def add(edits: PluginEdits, change: PluginChange) -> PluginAdded:
        hexdigest = hashlib.sha256(content).hexdigest()
        if archive_request.sha256 and archive_request.sha256.lower() != hexdigest:
            raise ContractError(
                "the archive is not the expected one",
                expected=archive_request.sha256,
                found=hexdigest,
            )
        files, stored = read_archive(bytes(content)), None
        if archive_request.dry_run:
            review = edits.review(files, allow_unsigned=archive_request.allow_unsigned)
        else:
            stored, review = edits.add(files, change, allow_unsigned=archive_request.allow_unsigned)
        return PluginAdded(
            dry_run=archive_request.dry_run,
            id=review.manifest.id,
            version=review.manifest.version,
            sha256=review.sha256,
            is_signed=review.is_signed,
            needs_grant=review.needs_grant,
            permissions=[
                PermissionShown(**permission_change._asdict())
                for permission_change in review.changes
            ],
            advice=[AdviceShown(**advice._asdict()) for advice in review.advice],
            plugin=stored and _render_plugin(stored),
        )

    return await _edit(call, "add", "archive", add)


async def grant_plugin(call: Call[PluginWanted, NewGrant]) -> PluginShown:
    """Grant the permissions that a plugin requests, or the named ones of them."""
    body = call.body
    return await _edit_one(
        call,
        "grant",
        lambda edits, change: edits.grant(
            *(call.query.plugin, change),
            given=body.permissions,
            folders=body.folders,
            expected_version=body.expected_version,
            reason=body.reason,
        ),
    )


async def enable_plugin(call: Call[PluginWanted, Share]) -> PluginShown:
    """Let a granted plugin run, for all or a stable share of its partitions."""
    body = call.body
    return await _edit_one(
        call,
        "enable",
        lambda edits, change: edits.enable(
            *(call.query.plugin, change),
            share=body.share,
            listed_keys=body.listed_keys,
            expected_version=body.expected_version,
        ),
    )


async def disable_plugin(call: Call[PluginWanted, Stop]) -> PluginShown:
    """Stop a plugin at once: its running processes end within a second."""
    body = call.body
    return await _edit_one(
        call,
        "disable",
        lambda edits, change: edits.disable(
            *(call.query.plugin, change, body.reason), expected_version=body.expected_version
        ),
    )


async def refuse_plugin(call: Call[PluginWanted, Stop]) -> PluginShown:
    """Refuse a plugin after a review."""
    body = call.body
    return await _edit_one(
        call,
        "refuse",
        lambda edits, change: edits.refuse(
            *(call.query.plugin, change, body.reason), expected_version=body.expected_version
        ),
    )


async def remove_plugin(call: Call[PluginWanted, Body]) -> PluginShown:
    """Remove a plugin; its rows and the record of its changes stay."""
    return await _edit_one(
        call, "remove", lambda edits, change: edits.remove(call.query.plugin, change)
    )


async def trust_publisher(call: Call[Parameters, TrustedPublisher]) -> PluginList:
    """Trust the signatures of a publisher by its public key."""
    body = call.body
    await _edit(
        call,
        *("trust", body.publisher),
        lambda edits, change: edits.trust(body.publisher, body.public_key, change),
    )
    return await call.services.in_thread(_list, call.services)


async def revoke_publisher(call: Call[Parameters, RevokedPublisher]) -> PublisherRevoked:
    """Trust a publisher no more, and disable its plugins."""
    name = call.body.publisher
    disabled = await _edit(call, "revoke", name, lambda edits, change: edits.revoke(name, change))
    return PublisherRevoked(publisher=name, disabled_plugins=disabled)


async def _edit_one(
    call: Call[PluginWanted, Any],
    action: str,
    make: Callable[[PluginEdits, PluginChange], StoredPlugin],
) -> PluginShown:
    return _render_plugin(await _edit(call, action, call.query.plugin, make))


async def _edit(
    call: Call[Any, Any],
    action: str,
    target: str,
    make: Callable[[PluginEdits, PluginChange], T],
) -> T:
    """Make an edit; it is in the audit before it is made, and after."""
    services = call.services
    person = None if call.caller.way == "open" else call.caller.name
    change = PluginChange(call.caller.name, services.clock.now(), person=person)

    def made() -> T:
        store = open_store(services.settings)
        return make(PluginEdits(services.settings, services.warehouse, store), change)

    edit = (call, PATH, {"plugin": target, "action": action})
    await record(*edit, "asked", step=1)
    try:
        result = await services.in_thread(made)
    except OrchestrationError as error:
        await record(*edit, "failed", step=2, reason=error.category)
        raise _convert_error(error) from error
    await record(*edit, "done", step=2)
    return result


def _convert_error(error: OrchestrationError) -> ProblemError:
    if isinstance(error, UnknownPluginError):
        return problem_of(error, 404)
    if isinstance(error, PluginConflictError):
        return problem_of(error, 409)
    if isinstance(error, ConfigurationError | ContractError):
        return problem_of(error, 422)
    return problem_of(error)


def _list(services: Services) -> PluginList:
    with services.warehouse.reading() as connection:
        return PluginList(
            plugins=[_render_plugin(plugin) for plugin in read_plugins(connection)],
            publishers=[
                PublisherShown.model_validate(dict(row)) for row in read_publishers(connection)
            ],
        )


def _read_details(services: Services, plugin_id: str) -> PluginDetails:
    with services.warehouse.reading() as connection:
        stored = read_plugin(connection, plugin_id)
        versions = read_versions(connection, plugin_id)
    return PluginDetails(
        plugin=_render_plugin(stored),
        manifest=stored.manifest.as_json,
        permissions=[PermissionShown(**change._asdict()) for change in changes_of(stored)],
        changes=[PluginChangeShown.model_validate(version) for version in versions],
    )


def _render_plugin(stored: StoredPlugin) -> PluginShown:
    names = PluginShown.model_fields
    fields = {name: getattr(stored, name) for name in names if name != "listed_keys"}
    return PluginShown(**fields, listed_keys=list(stored.listed_keys))


PATH = "/plugins"
ONE = f"{PATH}/{{plugin}}"

OPERATIONS = (
    Operation("GET", PATH, "viewer", "List plugins", list_plugins, answer=PluginList),
    Operation(
        *("PUT", PATH, "admin", "Add a plugin", add_plugin),
        query=Archive,
        answer=PluginAdded,
        problems=(413,),
        takes_file=True,
    ),
    Operation(
        *("POST", f"{PATH}/publishers/trust", "admin", "Trust a publisher", trust_publisher),
        body=TrustedPublisher,
        answer=PluginList,
    ),
    Operation(
        *("POST", f"{PATH}/publishers/revoke", "admin", "Revoke a publisher", revoke_publisher),
        body=RevokedPublisher,
        answer=PublisherRevoked,
    ),
    Operation(
        *("GET", ONE, "viewer", "Get a plugin", show_plugin),
        query=PluginWanted,
        answer=PluginDetails,
    ),
    Operation(
        *("POST", f"{ONE}/grant", "admin", "Grant permissions to a plugin", grant_plugin),
        query=PluginWanted,
        body=NewGrant,
        answer=PluginShown,
    ),
    Operation(
        *("POST", f"{ONE}/enable", "admin", "Enable a plugin", enable_plugin),
        query=PluginWanted,
        body=Share,
        answer=PluginShown,
    ),
    Operation(
        *("POST", f"{ONE}/disable", "admin", "Disable a plugin", disable_plugin),
        query=PluginWanted,
        body=Stop,
        answer=PluginShown,
    ),
    Operation(
        *("POST", f"{ONE}/refuse", "admin", "Refuse a plugin", refuse_plugin),
        query=PluginWanted,
        body=Stop,
        answer=PluginShown,
    ),
    Operation(
        *("DELETE", ONE, "admin", "Remove a plugin", remove_plugin),
        query=PluginWanted,
        answer=PluginShown,
    ),
)
