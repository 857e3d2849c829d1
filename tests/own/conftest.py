"""Tables that a test declares are gone after it: other tests compare all declared ones."""

from contextlib import ExitStack

import pytest

from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.engine.warehouse.migrating import list_own_tables
from orchestration_project.tables.schema import METADATA
from tests.own.dlt_loading import Loading, Noon


@pytest.fixture(autouse=True)
def _only_our_tables():
    yield
    for table in list_own_tables():
        METADATA.remove(table)


@pytest.fixture(params=["sqlite", "postgresql"])
def loading(request, tmp_path, prepared):
    """Loads of declared dlt datasets, on either database."""
    with ExitStack() as stack:
        url, schema = prepared.sqlite(tmp_path / "warehouse.sqlite"), None
        if request.param == "postgresql":
            url, schema = stack.enter_context(prepared.schema())
        warehouse = stack.enter_context(Warehouse(url, clock=Noon(), schema=schema))
        yield Loading(warehouse, tmp_path)
