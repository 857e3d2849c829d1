"""Plugins over the API: read by viewers, edited by admins, each edit in the audit log."""

import hashlib

import pytest
from sqlalchemy import delete

from orchestration_project.client import ApiError, Client
from orchestration_project.domains.plugins.archives import MAX_ARCHIVE_BYTES
from orchestration_project.domains.plugins.tables import (
    plugins,
    plugins_grants,
    plugins_publishers,
    plugins_versions,
)
from tests.gateway.api.conftest import HOME
from tests.plugin_files import PUBLIC_KEY, plugin_files, signed, zipped

MEBIBYTE = bytes(2**20)
ARCHIVE = zipped(plugin_files() | {"main.py": b"import socket\n"})


@pytest.fixture
def admin(api):
    with Client(HOME, str(api.keys["admin"]), transport=api) as client:
        yield client
    with api.services.warehouse.writing() as connection:
        for table in (plugins, plugins_grants, plugins_publishers, plugins_versions):
            connection.execute(delete(table))


def status_of(raised: pytest.ExceptionInfo[ApiError]) -> int:
    return raised.value.problem.status


def test_an_admin_adds_grants_enables_and_stops_a_plugin(api, admin: Client):
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    tried = admin.add_plugin(ARCHIVE, allow_unsigned=True, dry_run=True)
    assert (tried.plugin, admin.plugins().plugins) == (None, [])
    added = admin.add_plugin(ARCHIVE, sha256=digest, allow_unsigned=True)
    assert added.needs_grant
    assert [advice.what for advice in added.advice] == ["import socket: opens network connections"]
    assert api.audited() == ("PUT /plugins", "done", "the admin")
    granted = admin.grant_plugin("rss", permissions={"hosts": []}, expected_version=1)
    enabled = admin.enable_plugin("rss", share=0.1, expected_version=granted.version_number)
    assert "Code locations, Reload" in enabled.next_step
    assert not granted.next_step
    assert (enabled.state, enabled.share, enabled.changed_by) == ("enabled", 0.1, "the admin")
    with pytest.raises(ApiError, match="changed meanwhile") as raised:
        admin.disable_plugin("rss", "too slow", expected_version=1)
    assert status_of(raised) == 409
    assert admin.disable_plugin("rss", "too slow").reason == "too slow"
    details = admin.plugin("rss")
    assert [change.action for change in details.changes] == ["disable", "enable", "grant", "add"]
    assert {permission.name: permission.change for permission in details.permissions}[
        "example.org"
    ] == "added"
    assert admin.refuse_plugin("rss", "no").state == "refused"
    admin.remove_plugin("rss")
    with pytest.raises(ApiError, match="plugin not found") as raised:
        admin.plugin("rss")
    assert status_of(raised) == 404


async def too_large():
    """Yield an archive without a length that is larger than any may be."""
    for _ in range(MAX_ARCHIVE_BYTES // len(MEBIBYTE) + 1):
        yield MEBIBYTE


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        pytest.param(b"PK", {"content-length": str(MAX_ARCHIVE_BYTES + 1)}, 413, id="announced"),
        pytest.param(too_large(), {}, 413, id="without a length"),
        pytest.param(b"no zip", {}, 422, id="damaged"),
        pytest.param(ARCHIVE, {}, 422, id="unsigned"),
    ],
)
def test_a_refused_archive_leaves_nothing(api, content, headers, status):
    def files() -> list[str]:
        unpacked = (api.services.settings.state_path / "plugins").rglob("*")
        return sorted(
            [
                *(stored_file.name for stored_file in api.services.store.listed()),
                *map(str, unpacked),
            ]
        )

    before = files()
    answer = api.ask("PUT", "/plugins", "admin", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert files() == before


def test_what_cannot_be_added_or_granted_is_a_problem(api, admin: Client):
    refused = [
        (lambda: admin.add_plugin(b"no zip", allow_unsigned=True), "archive is refused"),
        (lambda: admin.add_plugin(ARCHIVE), "not signed by a trusted publisher"),
        (
            lambda: admin.add_plugin(ARCHIVE, sha256="0" * 64, allow_unsigned=True),
            "not the expected one",
        ),
        (lambda: admin.trust_publisher("example.org", "x"), "invalid key"),
    ]
    for ask, message in refused:
        with pytest.raises(ApiError, match=message) as raised:
            ask()
        assert status_of(raised) == 422
        assert api.audited()[1] == "failed"
    admin.add_plugin(ARCHIVE, allow_unsigned=True)
    with pytest.raises(ApiError, match="invalid kind of permission"):
        admin.grant_plugin("rss", permissions={"host": []})
    with pytest.raises(ApiError, match="is not granted") as raised:
        admin.enable_plugin("rss")
    assert status_of(raised) == 409


def test_a_publisher_is_trusted_and_revoked(api, admin: Client):
    listed = admin.trust_publisher("example.org", PUBLIC_KEY)
    assert [publisher.state for publisher in listed.publishers] == ["trusted"]
    assert admin.add_plugin(zipped(signed(plugin_files()))).is_signed
    admin.grant_plugin("rss")
    admin.enable_plugin("rss")
    assert admin.revoke_publisher("example.org").disabled_plugins == ["rss"]


def test_viewers_read_and_operators_edit_nothing(api, admin: Client):
    admin.add_plugin(ARCHIVE, allow_unsigned=True)
    with Client(HOME, str(api.keys["viewer"]), transport=api) as viewer:
        assert viewer.plugins().plugins[0].id == "rss"
        assert viewer.plugin("rss").manifest["entry"] == "main.py"
    with Client(HOME, str(api.keys["operator"]), transport=api) as operator:
        for ask in (
            lambda: operator.add_plugin(ARCHIVE),
            lambda: operator.grant_plugin("rss"),
            lambda: operator.enable_plugin("rss"),
            lambda: operator.disable_plugin("rss", "x"),
            lambda: operator.revoke_publisher("example.org"),
        ):
            with pytest.raises(ApiError) as raised:
                ask()
            assert status_of(raised) == 403
