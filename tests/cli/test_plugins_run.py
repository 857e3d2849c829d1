"""The four examples of plugins, and `make run-plugins`, which runs them against the demos."""

import pytest

from orchestration_project.cli.plugins_run import EXAMPLES, IDS, copy_example
from orchestration_project.domains.plugins.manifest import read_manifest
from orchestration_project.tables.catalogue import relation


@pytest.mark.parametrize("name", IDS)
def test_an_example_has_a_valid_manifest_and_reads_columns_that_there_are(name):
    folder = EXAMPLES / name
    manifest = read_manifest((folder / "plugin.yaml").read_text(encoding="utf-8"))
    assert manifest.id == name
    assert (folder / manifest.entry).is_file()
    for read in manifest.permissions.reads:
        columns = {column.name for column in relation(read.table).table.columns}
        assert {*read.columns, *read.filters} <= columns


def test_a_copied_example_may_request_the_given_server_alone(tmp_path):
    hosts = {"slack.com": "127.0.0.1:8123"}
    text = (copy_example("slack_digest", tmp_path, hosts) / "plugin.yaml").read_text()
    permissions = read_manifest(text).permissions
    [host] = permissions.hosts
    assert (host.host, host.scheme, host.methods) == ("127.0.0.1:8123", "http", ["POST"])
    assert {secret.host for secret in (*permissions.secrets, *permissions.actions)} == {host.host}
