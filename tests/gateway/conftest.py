"""One gateway for all tests of a file that only ask it."""

from collections.abc import Iterator

import pytest

from tests.gateway.door import Door, open_door


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """A gateway that is served."""
    with open_door(tmp_path_factory.mktemp("door")) as door:
        yield door
