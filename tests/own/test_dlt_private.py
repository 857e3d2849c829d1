"""Internals of dlt that the package uses; a version that moves one fails here, and says which."""

import subprocess
import sys
from threading import Thread

import dlt
import pytest
from dlt.common.configuration.container import Container
from dlt.common.pipeline import StateInjectableContext
from dlt.sources.helpers import requests
from dlt.sources.helpers.requests.retry import Client
from dlt.sources.helpers.rest_client.client import RESTClient
from dlt.version import __version__

from orchestration_project.engine.connections import dlt_private
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import PROJECT_ROOT


class Recorded:
    """Sessions that record the requests they received."""

    def __init__(self):
        self.requested = []

    def session(self, *, raise_for_status):
        self.requested.append(raise_for_status)
        return self


def read(make, state=None, sessions=None):
    found = dlt_private.read_items(
        make, {}, "", state={} if state is None else state, sessions=sessions or Recorded()
    )
    return [item for _, item in found]


def test_the_version_is_one_that_these_tests_ran_with():
    known = dlt_private.TESTED_VERSIONS
    assert __version__.startswith(known), (
        f"dlt {__version__} is new: run the tests of dlt, correct dlt_private.py where "
        f"they fail, and add it to TESTED_VERSIONS {known}"
    )


@pytest.mark.parametrize(("owner", "name"), [(Client, "session"), (RESTClient, "extract_response")])
def test_an_internal_that_moved_is_named_with_the_version(monkeypatch, owner, name):
    monkeypatch.delattr(owner, name)
    with pytest.raises(ConfigurationError, match="its internals are not those") as raised:
        dlt_private._install_context.__wrapped__()
    assert name in raised.value.found
    assert f"dlt {__version__}" in raised.value.found


def test_a_state_is_read_and_written_and_ends_with_the_read():
    @dlt.resource
    def counted():
        state = dlt.current.resource_state()
        state["reads"] = state.get("reads", 0) + 1
        yield {"reads": state["reads"]}

    state = {}
    assert read(lambda: counted(), state) == [{"reads": 1}]
    assert read(lambda: counted(), state) == [{"reads": 2}]
    assert read(lambda: counted()) == [{"reads": 1}]
    assert StateInjectableContext not in Container()


def test_clients_of_dlt_use_our_sessions_while_a_resource_is_read_and_their_own_after_it():
    ours = Recorded()
    seen = []

    @dlt.resource(parallelized=True)
    def requested():
        seen.append(requests.client.session)
        seen.append(RESTClient("http://127.0.0.1").session)
        yield {"a": 1}

    read(lambda: requested(), sessions=ours)
    assert seen == [ours, ours]
    assert ours.requested == [True, False]
    assert not isinstance(requests.client.session, Recorded)
    assert not isinstance(RESTClient("http://127.0.0.1").session, Recorded)


def test_two_threads_have_sessions_and_states_of_their_own():
    found = {}

    def run(name):
        ours, state = Recorded(), {}

        @dlt.resource(name=name)
        def resource():
            dlt.current.resource_state()["by"] = name
            for _ in range(20):
                yield {"is_own": requests.client.session is ours}

        rows = read(lambda: resource(), state, ours)
        found[name] = (all(row["is_own"] for row in rows), name in repr(state), len(repr(state)))

    threads = [Thread(target=run, args=(name,)) for name in ("first", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found["first"][:2] == found["other"][:2] == (True, True)
    assert found["first"][2] == found["other"][2]


PROGRAM = """\
import sys, threading
import dlt
from orchestration_project.engine.connections.dlt_private import read_items

class Sessions:
    def session(self, *, raise_for_status): raise AssertionError

@dlt.resource
def rows(n=dlt.sources.incremental("n")):
    yield {"n": 1}

print(list(read_items(lambda: rows(), {}, "", state={}, sessions=Sessions())))
print([each.name for each in threading.enumerate()])
"""


@pytest.mark.slow
def test_nothing_is_written_in_the_home_and_no_telemetry_is_sent(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={"HOME": str(home), "PATH": "", "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == ["[('rows', {'n': 1})]", "['MainThread']"]
    assert list(tmp_path.rglob("*")) == [home]


@pytest.mark.slow
def test_dlt_is_not_imported_by_a_declaration(tmp_path):
    code = (
        "import sys\n"
        "from orchestration_project import dlt_source\n"
        "from orchestration_project.catalog import own\n"
        "dlt_source(lambda day: None)\n"
        "print('dlt' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": str(PROJECT_ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
