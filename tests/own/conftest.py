"""Tables that a test declares are gone after it: other tests compare all declared ones."""

import pytest

from orchestration_project.engine.warehouse.declared_tables import own_tables
from orchestration_project.tables.schema import METADATA


@pytest.fixture(autouse=True)
def _only_our_tables():
    yield
    for table in own_tables():
        METADATA.remove(table)
