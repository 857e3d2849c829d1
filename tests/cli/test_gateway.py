"""The command `gateway` where it cannot serve: a sentence each, before anything is started."""

import socket
from contextlib import ExitStack, suppress

import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import PROJECT_ROOT
from tests import programs

WORKSPACE = str(PROJECT_ROOT / "workspace.yaml")


@pytest.fixture(autouse=True)
def home(demo_settings, tmp_path, monkeypatch):
    """A DAGSTER_HOME as `ui` makes one."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").symlink_to(PROJECT_ROOT / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(folder))


def gateway(*arguments):
    return main(["gateway", "--port", str(programs.free_port()), *arguments])


@pytest.mark.parametrize("named", ["", "relative", "/nosuch"])
def test_without_a_folder_of_dagsters_it_says_what_to_set(monkeypatch, capsys, named):
    monkeypatch.setenv("DAGSTER_HOME", named)
    assert gateway("-w", WORKSPACE) == 1
    output, error = capsys.readouterr()
    assert (output, "Traceback" in error) == ("", False)
    assert error.startswith("no Dagster instance to serve\n  expected: DAGSTER_HOME")
    assert (named or "$DAGSTER_HOME is not set") in error


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "load_from: 3", "a: b: c", "\0", b"\xff"])
def test_a_workspace_that_is_none_is_named(tmp_path, capsys, text):
    file = tmp_path / "workspace.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert gateway("-w", str(file)) == 1
    assert capsys.readouterr().err.startswith(f"{file} is not a workspace file\n  expected: a file")


def test_a_workspace_that_is_not_there_is_named_before_anything_else(monkeypatch, capsys):
    monkeypatch.delenv("DAGSTER_HOME")
    with pytest.raises(SystemExit) as ended:
        gateway("-w", "nope.yaml")
    assert ended.value.code == 2
    assert "File 'nope.yaml' does not exist." in capsys.readouterr().err


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_place_that_is_taken_or_not_there_is_refused(capsys, host, shown):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        port = programs.free_port()
        with suppress(OSError):  # of a machine without IPv6
            stack.enter_context(socket.create_server((host, port), family=family))
        assert main(["gateway", "-w", WORKSPACE, "--host", host, "--port", str(port)]) == 1
    refusal = f"the UI cannot be served on {shown}:{port}\n"
    assert capsys.readouterr().err.startswith(refusal)


@pytest.mark.parametrize("port", ["99999", "0", "http", ""])
def test_a_port_that_is_none_is_a_usage_error(capsys, port):
    """More than a number of 16 bits would be served on another port."""
    with pytest.raises(SystemExit) as ended:
        main(["gateway", "-w", WORKSPACE, "--port", port])
    assert ended.value.code == 2
    assert "Invalid value for '--port': " in capsys.readouterr().err
