"""Crawls of random sites against a model: what is requested, and which items there are."""

import dagster as dg
import pytest
from hypothesis import given, settings

from tests.properties import bounded
from tests.resources.web_graphs import SITES, Graph, agreement, graphs


@pytest.mark.slow
def test_50_random_sites_are_crawled_as_the_model_says(url: str, instance: dg.DagsterInstance):
    with agreement(url, instance) as agree:

        @settings(bounded, max_examples=25 // SITES)
        @given(graph=graphs())
        def crawl(graph: Graph) -> None:
            agree(graph)

        crawl()
