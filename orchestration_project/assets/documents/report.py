"""Metadata of a load of documents: outcomes, pages, chunks."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import polars as pl

from orchestration_project.assets.documents.catalogue import CAPTURE, CHUNKS, PAGES
from orchestration_project.resources.documents.items import DocumentSummary
from orchestration_project.resources.documents.reporting import RunDocuments
from orchestration_project.services.metadata import quoted_table, table_of
from orchestration_project.tables.documents import documents_chunks, documents_pages


def load_results(
    summary: DocumentSummary, found: RunDocuments, written: Mapping[str, int], seconds: float
) -> Iterator[dg.MaterializeResult[Any]]:
    """Yield the result of each asset of a load.

    Args:
        summary: Outcomes of the run's items.
        found: The run's documents.
        written: Rows by table.
        seconds: Time that reading and loading took.
    """
    by_type = {"outcomes_by_type": table_of(pl.DataFrame(found.by_type))} if found.by_type else {}
    yield dg.MaterializeResult(asset_key=CAPTURE, metadata={**summary.as_metadata(), **by_type})
    yield dg.MaterializeResult(
        asset_key=PAGES,
        metadata={
            "rows_written": written[documents_pages.name],
            "page_count": found.page_count,
            "pages_per_second": round(found.page_count / max(seconds, 0.001), 1),
        },
    )
    yield dg.MaterializeResult(
        asset_key=CHUNKS,
        metadata={
            "rows_written": written[documents_chunks.name],
            "chunk_count": found.chunk_count,
            **({"first_chunks": quoted_table(found.first_chunks)} if found.first_chunks else {}),
        },
    )
