"""Places of requests in flight: how many there are, over processes, and after one was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.engine.http.limits import HostPlaces, Places, build_places
from orchestration_project.errors import ConfigurationError
from orchestration_project.settings import child_environment

HOLDER = """
import signal, sys
from pathlib import Path
from orchestration_project.engine.http.limits import Places
places = Places(Path(sys.argv[1]), "shop.example", 2)
places.wait()
print("holds", flush=True)
signal.pause()
"""


def test_there_are_as_many_places_as_counted_and_each_is_given_back(tmp_path: Path):
    one, other = (Places(tmp_path, "shop.example", 2) for _ in range(2))
    taken = one.take()
    assert taken is not None
    assert other.take() is not None
    assert one.take() is other.take() is None
    assert Places(tmp_path, "other.example", 1).take() is not None
    one.free(taken)
    assert other.wait() is not None
    assert one.take() is None


def test_a_forked_process_has_places_of_its_own(tmp_path: Path):
    places = Places(tmp_path, "shop.example", 1)
    assert places.take() is not None
    forked = os.fork()
    if not forked:
        os._exit(places.take() is None)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 1


def test_a_killed_process_gives_its_place_back(tmp_path: Path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, env=child_environment(), stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        places = Places(tmp_path, "shop.example", 2)
        assert places.take() is not None
        assert places.take() is None
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert places.take() is not None


def test_a_host_that_waits_for_its_rate_holds_no_place_of_all_hosts(tmp_path: Path):
    make = build_places(tmp_path, host_count=1, count=1)
    waited: list[str] = []

    def wait_at_slow_and_expect_full() -> None:
        waited.append("slow")
        with make("quick.example").hold(lambda: waited.append("quick")):
            assert Places(tmp_path, "_all", 1).take() is None

    with make("slow.example").hold(wait_at_slow_and_expect_full):
        assert waited == ["slow", "quick"]
        assert Places(tmp_path, "slow.example", 1).take() is None
    assert Places(tmp_path, "_all", 1).take() is not None


def test_without_places_nothing_is_held():
    with HostPlaces().hold(lambda: None):
        pass


@pytest.mark.parametrize("name", ["../../x", "..", "[::1]", "a" * 500, ""])
def test_any_name_stays_in_the_folder(tmp_path: Path, name: str):
    assert Places(tmp_path / "state", name, 1).take() is not None
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path):
    (tmp_path / "http").write_text("a file")
    with pytest.raises(ConfigurationError, match="requests in flight cannot be used"):
        Places(tmp_path, "shop.example", 1).take()
