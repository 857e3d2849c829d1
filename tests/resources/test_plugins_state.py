"""What is stored of plugins: added, granted, enabled, stopped; each change with its version."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestration_project.domains.plugins.archives import read_archive
from orchestration_project.domains.plugins.permissions_diff import Change
from orchestration_project.domains.plugins.tables import plugins_grants, plugins_versions
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.errors import ConfigurationError, ContractError
from orchestration_project.resources.plugins.changes import PluginChange
from orchestration_project.resources.plugins.edits import PluginEdits
from orchestration_project.resources.plugins.reviewing import PluginConflictError
from orchestration_project.resources.plugins.state import (
    StoredPlugin,
    disable,
    read_plugin,
    read_plugins,
)
from orchestration_project.resources.plugins.store import folder_of, read_given
from orchestration_project.settings import Settings, load_settings
from tests.plugin_files import PUBLIC_KEY, flipped, plugin_files, signed, zipped

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ADA = PluginChange("ada", NOW)
HOST = {"host": "example.org"}


class PluginEditor:
    """Edits of plugins in a database and a STATE_DIR of their own."""

    def __init__(self, settings: Settings, warehouse: Warehouse, artifacts: FolderStore) -> None:
        self.settings, self.warehouse, self.artifacts = settings, warehouse, artifacts
        self.edits = PluginEdits(settings, warehouse, artifacts)

    def add(self, *, allow_unsigned: bool = True, **changes: Any) -> StoredPlugin:
        """Add the plugin of a manifest."""
        return self.edits.add(plugin_files(**changes), ADA, allow_unsigned=allow_unsigned)[0]

    def run(self) -> StoredPlugin:
        """Add, grant and enable the plugin rss."""
        self.add()
        self.edits.grant("rss", ADA, given={}, folders={})
        return self.edits.enable("rss", ADA)

    def actions(self, plugin: str = "rss") -> list[str]:
        """Return its changes, the first first."""
        columns = plugins_versions.c
        wanted = select(columns.action).where(columns.id == plugin).order_by(columns.version_number)
        with self.warehouse.reading() as connection:
            return list(connection.execute(wanted).scalars())

    def stored(self, plugin: str = "rss") -> StoredPlugin:
        """Return it as it is stored."""
        with self.warehouse.reading() as connection:
            return read_plugin(connection, plugin)

    def folder(self) -> Path:
        """Return its verified folder."""
        return folder_of(self.settings, self.artifacts, self.stored())


@pytest.fixture
def plugin_edits(
    tmp_path: Path, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> PluginEditor:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    return PluginEditor(load_settings(), warehouse, FolderStore(tmp_path / "artifacts"))


def test_a_plugin_is_added_granted_and_enabled_with_each_change_stored(plugin_edits: PluginEditor):
    added = plugin_edits.add()
    assert (added.state, added.grant, added.is_signed) == ("added", None, False)
    assert not any(added.permissions.model_dump().values())
    granted = plugin_edits.edits.grant(
        "rss", ADA, given={"tables": ["items"], "hosts": []}, folders={}
    )
    assert granted.state == "granted"
    assert granted.permissions.tables == ["items"]
    assert granted.permissions.hosts == []
    enabled = plugin_edits.edits.enable("rss", ADA, share=0.1, listed_keys=["2026-11-26"])
    assert (enabled.state, enabled.share, enabled.runs_for("2026-11-26")) == ("enabled", 0.1, True)
    assert 50 < sum(enabled.runs_for(str(number)) for number in range(1_000)) < 150
    stopped = plugin_edits.edits.disable("rss", ADA, "it is too slow")
    assert (stopped.state, stopped.reason) == ("disabled", "it is too slow")
    assert plugin_edits.edits.enable("rss", ADA).share == 0.1
    assert plugin_edits.edits.refuse("rss", ADA, "no").state == "refused"
    plugin_edits.edits.remove("rss", ADA)
    assert plugin_edits.actions() == [
        *("add", "grant", "enable", "disable", "enable", "refuse", "remove"),
    ]
    with plugin_edits.warehouse.reading() as connection:
        assert read_plugins(connection) == []
        assert list(connection.execute(select(plugins_grants.c.is_current)).scalars()) == [False]
    assert plugin_edits.add().version_number == 8


def test_what_is_not_granted_cannot_be_enabled(plugin_edits: PluginEditor):
    plugin_edits.add()
    with pytest.raises(PluginConflictError, match="is not granted"):
        plugin_edits.edits.enable("rss", ADA)
    plugin_edits.edits.refuse("rss", ADA, "no")
    with pytest.raises(PluginConflictError, match="is not granted"):
        plugin_edits.edits.enable("rss", ADA)
    again = plugin_edits.add(version="1.0.1")
    assert (again.state, again.reason) == ("added", None)
    with pytest.raises(ConfigurationError, match="plugin not found: 'rsss'"):
        plugin_edits.edits.enable("rsss", ADA)


def test_an_edit_of_an_earlier_change_is_refused(plugin_edits: PluginEditor):
    plugin_edits.add()
    plugin_edits.edits.grant("rss", ADA, given={}, folders={}, expected_version=1)
    with pytest.raises(PluginConflictError, match="changed meanwhile"):
        plugin_edits.edits.enable("rss", ADA, expected_version=1)
    with pytest.raises(ConfigurationError, match="invalid share"):
        plugin_edits.edits.enable("rss", ADA, share=1.5)
    assert plugin_edits.actions() == ["add", "grant"]


def test_a_new_version_keeps_the_grant_unless_it_asks_for_more(plugin_edits: PluginEditor):
    plugin_edits.run()
    kept = plugin_edits.add(version="1.1.0", permissions={"tables": ["items"]})
    assert (kept.state, kept.permissions.hosts) == ("enabled", [])
    wider = plugin_edits.add(
        version="1.2.0",
        permissions={"tables": ["items"], "hosts": [HOST, {"host": "evil.example"}]},
    )
    assert (wider.state, wider.grant is not None) == ("added", True)
    assert [host.host for host in wider.permissions.hosts] == ["example.org"]
    review = plugin_edits.edits.review(
        plugin_files(version="1.3.0", budget={"rows": 50_000}), allow_unsigned=True
    )
    changes = {change.name: change.change for change in review.changes}
    assert (changes["rows"], changes["seconds"]) == (Change.WIDER, Change.SAME)
    assert plugin_edits.edits.grant("rss", ADA, given={}, folders={}).state == "granted"


@pytest.mark.slow_after_first
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": "1.0.0", "description": "Other"}, "has other files"),
        ({"version": "0.9.0"}, "would become older"),
        ({"version": "1.0.0-rc.1"}, "would become older"),
        ({"version": "2.0.0", "publisher": "other.example"}, "the ID rss is taken"),
        ({"version": "2.0.0", "requires": ">=99"}, "is not for this version of the project"),
        ({"version": "2.0.0", "schedule": {"cron": "99 0 * * *"}}, "invalid schedule.cron"),
    ],
)
def test_a_downgrade_another_publisher_or_release_is_refused(
    plugin_edits: PluginEditor, changes: dict[str, Any], message: str
):
    before = plugin_edits.run()
    with pytest.raises(ConfigurationError, match=message):
        plugin_edits.add(**changes)
    assert plugin_edits.stored() == before


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("nothing", ["a"], "table or view not found"),
        ("mqtt_projects", ["nothing"], "has no column"),
        ("outbox", ["topic"], "for the project's own work"),
        ("access_keys", ["secret_sha256"], "own work"),
    ],
)
def test_a_query_of_what_a_plugin_must_not_read_is_refused(
    plugin_edits: PluginEditor, table: str, columns: list[str], message: str
):
    read = {"name": "q", "table": table, "columns": columns}
    with pytest.raises(ConfigurationError, match=message):
        plugin_edits.add(permissions={"reads": [read]}, row_schemas=None)


def test_a_signature_is_verified_and_a_revoked_publisher_disables_its_plugins(
    plugin_edits: PluginEditor,
):
    files = signed(plugin_files())
    with pytest.raises(ContractError, match="not signed by a trusted publisher"):
        plugin_edits.edits.add(files, ADA, allow_unsigned=False)
    plugin_edits.edits.trust("example.org", PUBLIC_KEY, ADA)
    forged = files | {"plugin.sig": flipped(files["plugin.sig"])}
    for bad in (forged, files | {"main.py": b"import os"}, signed(plugin_files(), bytes(32))):
        with pytest.raises(ContractError, match="is not that of"):
            plugin_edits.edits.add(bad, ADA, allow_unsigned=True)
    stored, _ = plugin_edits.edits.add(files, ADA, allow_unsigned=False)
    assert stored.is_signed
    plugin_edits.edits.grant("rss", ADA, given={}, folders={})
    plugin_edits.edits.enable("rss", ADA)
    assert plugin_edits.edits.revoke("example.org", ADA) == ["rss"]
    assert plugin_edits.stored().state == "disabled"
    assert plugin_edits.stored().reason == "the key of the publisher example.org was revoked"
    for change in (
        lambda: plugin_edits.edits.enable("rss", ADA),
        lambda: plugin_edits.add(version="2.0.0"),
    ):
        with pytest.raises(ContractError, match="was revoked"):
            change()
    with pytest.raises(ConfigurationError, match="publisher not found"):
        plugin_edits.edits.revoke("unknown", ADA)


def test_the_unpacked_folder_is_compared_file_by_file(plugin_edits: PluginEditor):
    plugin_edits.run()
    folder = plugin_edits.folder()
    assert (folder / "main.py").read_bytes() == plugin_files()["main.py"]
    (folder / "more.py").write_text("import os")
    with pytest.raises(ConfigurationError, match="is not run") as refused:
        plugin_edits.folder()
    assert refused.value.found == "more.py added"
    (folder / "more.py").unlink()
    (folder / "main.py").unlink()
    (folder / "main.py").symlink_to("/etc/passwd")
    with pytest.raises(ConfigurationError, match="link or device"):
        plugin_edits.folder()
    before = plugin_edits.stored()
    assert plugin_edits.add() == before
    assert plugin_edits.folder() == folder
    plugin_edits.edits.remove("rss", ADA)
    assert not folder.exists()


def test_a_deleted_folder_is_refused_until_the_plugin_is_added_again(plugin_edits: PluginEditor):
    plugin_edits.run()
    shutil.rmtree(plugin_edits.folder())
    with pytest.raises(ConfigurationError, match="orchestrate plugins add"):
        plugin_edits.folder()
    assert plugin_edits.add().state == "enabled"
    assert plugin_edits.folder().is_dir()


def test_a_plugin_comes_as_a_folder_or_an_archive(plugin_edits: PluginEditor, tmp_path: Path):
    files = plugin_files(more={"data/a.txt": b"a"})
    for name, content in files.items():
        (tmp_path / "rss" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rss" / name).write_bytes(content)
    (tmp_path / "rss" / "__pycache__").mkdir()
    (tmp_path / "rss" / "__pycache__" / "main.pyc").write_bytes(b"x")
    (tmp_path / "rss.zip").write_bytes(zipped(files))
    assert read_given(tmp_path / "rss")[0] == files
    assert read_given(tmp_path / "rss.zip")[0] == read_archive(zipped(files))
    (tmp_path / "rss" / "link").symlink_to("/etc")
    with pytest.raises(ContractError, match="folder is refused"):
        read_given(tmp_path / "rss")
    with pytest.raises(ConfigurationError, match="plugin not found"):
        read_given(tmp_path / "nothing")


def test_a_granted_folder_is_of_the_host_and_outside_of_the_state(
    plugin_edits: PluginEditor, tmp_path: Path
):
    plugin_edits.add(permissions={"folders": ["drop"]}, row_schemas=None)
    drop = tmp_path / "drop"
    drop.mkdir()
    for given in ({}, {"other": str(drop)}):
        with pytest.raises(ConfigurationError, match="a folder for each of drop"):
            plugin_edits.edits.grant("rss", ADA, given={}, folders=given)
    for path in (plugin_edits.settings.state_path, tmp_path, tmp_path / "nothing", Path("drop")):
        with pytest.raises(ConfigurationError, match="invalid folder drop"):
            plugin_edits.edits.grant("rss", ADA, given={}, folders={"drop": str(path)})
    granted = plugin_edits.edits.grant("rss", ADA, given={}, folders={"drop": str(drop)})
    assert granted.grant is not None
    assert granted.grant.folders == {"drop": str(drop)}


def test_violations_disable_only_a_plugin_that_may_run(plugin_edits: PluginEditor):
    plugin_edits.add()
    assert not disable(plugin_edits.warehouse, "rss", "plugins", "three violations", NOW)
    plugin_edits.edits.grant("rss", ADA, given={}, folders={})
    plugin_edits.edits.enable("rss", ADA)
    assert disable(plugin_edits.warehouse, "rss", "plugins", "three violations", NOW)
    assert (plugin_edits.stored().state, plugin_edits.stored().changed_by) == (
        "disabled",
        "plugins",
    )


def test_a_grant_that_this_release_cannot_read_grants_nothing_until_it_is_granted_again(
    plugin_edits: PluginEditor, caplog: pytest.LogCaptureFixture
):
    plugin_edits.run()
    with plugin_edits.warehouse.writing() as connection:
        connection.execute(update(plugins_grants).values(permissions='{"of_later": []}'))
    assert plugin_edits.stored().grant is None
    with plugin_edits.warehouse.reading() as connection:
        assert [plugin.id for plugin in read_plugins(connection)] == ["rss"]
    assert "grant of the plugin rss cannot be read" in caplog.text
    with pytest.raises(ConfigurationError, match="not granted"):
        plugin_edits.edits.enable("rss", ADA)
    plugin_edits.edits.grant("rss", ADA, given={}, folders={})
    assert plugin_edits.edits.enable("rss", ADA).grant is not None


def test_a_plugin_that_this_release_cannot_read_is_left_out_of_the_list(plugin_edits: PluginEditor):
    plugin_edits.add()
    plugin_edits.add(id="other")
    with plugin_edits.warehouse.writing() as connection:
        connection.exec_driver_sql("UPDATE plugins SET manifest = '{}' WHERE id = 'other'")
    with plugin_edits.warehouse.reading() as connection:
        assert [plugin.id for plugin in read_plugins(connection)] == ["rss"]
        with pytest.raises(ConfigurationError, match=r"invalid plugin.yaml"):
            read_plugin(connection, "other")
