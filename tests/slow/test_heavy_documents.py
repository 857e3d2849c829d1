"""Bad input of gigabytes through the load: each ends with its reason code."""

from pathlib import Path

import pytest

from tests.assets.bad_documents import HEAVY, write_good
from tests.assets.conftest import url
from tests.assets.test_bad_documents import assert_ends
from tests.assets.test_documents import DAY, folder, run, tick

__all__ = ["folder", "url"]


@pytest.mark.slow
def test_files_of_gigabytes_end_with_their_reason_code(url, folder: Path, instance):
    for row in HEAVY:
        row.write(folder)
    write_good(folder)
    assert tick(instance) == [DAY]
    run(instance)
    assert_ends(url, HEAVY)
