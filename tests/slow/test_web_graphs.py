"""Crawls of many random sites against a model."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from hypothesis import given, settings

from tests.prepared import Prepared
from tests.properties import bounded
from tests.resources.web_graphs import SITES, Graph, checked_crawls, graphs

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_250_random_sites_of_each_database_are_crawled_as_the_model_says(
    demo_settings: Any,
    engine: str,
    prepared: Prepared,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    is_sqlite = engine == "sqlite"
    url = prepared.sqlite(tmp_path / "db.sqlite") if is_sqlite else prepared.postgresql()
    monkeypatch.setenv("DATABASE_URL", url)
    with checked_crawls(url, instance) as check_crawl:

        @settings(bounded, max_examples=250 // SITES)
        @given(graph=graphs())
        def crawl(graph: Graph) -> None:
            check_crawl(graph)

        crawl()
