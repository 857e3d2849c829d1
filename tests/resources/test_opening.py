"""Resources that are opened when they are first used."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from orchestration_project.engine.environment import open_all, open_lazily
from orchestration_project.errors import TransientError


class NotedResource:
    """A resource that notes what happens to it."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.noted: list[str] = []

    name = "door"

    @contextmanager
    def opening(self) -> Iterator["NotedResource"]:
        if self.failures:
            self.failures -= 1
            raise TransientError("stuck")
        self.noted.append("opened")
        yield self
        self.noted.append("closed")


def test_it_is_opened_once_at_the_first_use_and_closed_at_the_end():
    resource = NotedResource()
    with open_lazily(resource.opening) as stand_in:
        assert resource.noted == []
        assert (stand_in.name, stand_in.name) == ("door", "door")
        assert resource.noted == ["opened"]
    assert resource.noted == ["opened", "closed"]


def test_an_unused_resource_is_never_opened():
    resource = NotedResource()
    with open_lazily(resource.opening):
        pass
    assert resource.noted == []


def test_what_is_known_of_it_opens_nothing():
    resource = NotedResource()
    with open_lazily(resource.opening, colour="green") as stand_in:
        assert stand_in.colour == "green"
        assert resource.noted == []


def test_a_look_at_what_kind_of_thing_it_is_does_not_open_it():
    resource = NotedResource()
    with open_lazily(resource.opening) as stand_in:
        assert not hasattr(stand_in, "_is_a_door")
        assert resource.noted == []


def test_what_could_not_be_opened_is_tried_again_at_the_next_use():
    resource = NotedResource(failures=1)
    with open_lazily(resource.opening) as stand_in:
        with pytest.raises(TransientError, match="stuck"):
            open_all(stand_in)
        open_all(stand_in, "something that is open")
        assert stand_in.name == "door"
    assert resource.noted == ["opened", "closed"]
