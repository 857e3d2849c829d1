"""The demo's shop of 400 products changes its layout; an accepted proposal restores all prices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests import web_shop
from tests.assets.test_web_proposals import check_layout_change_is_accepted
from tests.prepared import Prepared
from tests.web_shop import Shop

pytestmark = pytest.mark.slow

PRODUCTS = 400


@pytest.fixture
def url(
    demo_settings: Any, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    found = prepared.sqlite(tmp_path / "warehouse.sqlite")
    monkeypatch.setenv("DATABASE_URL", found)
    return found


@pytest.fixture
def shop(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    yield from web_shop.started(monkeypatch, PRODUCTS)


def test_400_items_have_exact_prices_after_an_accepted_proposal(
    url: str, shop: Shop, instance: dg.DagsterInstance
):
    check_layout_change_is_accepted(url, shop, instance, PRODUCTS)
