"""The command `gateway` where it cannot serve: a sentence each, before anything is started."""

import socket
from contextlib import ExitStack, suppress

import pytest

from orchestration_project.__main__ import main
from orchestration_project.settings import PROJECT_ROOT
from tests import programs

WORKSPACE = str(PROJECT_ROOT / "workspace.yaml")


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_place_that_is_taken_or_not_there_is_refused(demo_settings, capsys, host, shown):
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
    assert f"argument --port: {port} is not between 1 and 65535" in capsys.readouterr().err
