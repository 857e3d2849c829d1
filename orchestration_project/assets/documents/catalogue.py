"""Keys, specs and partitions of the assets of documents."""

from collections.abc import Mapping

import dagster as dg
from sqlalchemy import Table

from orchestration_project.assets.specs import SOURCE, build_asset_spec, build_utc_days
from orchestration_project.domains.documents.tables import documents_files
from orchestration_project.resources.documents.waiting import FIRST_DAY
from orchestration_project.services.metadata import build_schema

GROUP = "documents"
OWNERS = ["team:operations"]
FILES, CAPTURE = dg.AssetKey([GROUP, "files"]), dg.AssetKey([GROUP, "capture"])
PAGES, CHUNKS = dg.AssetKey([GROUP, "pages"]), dg.AssetKey([GROUP, "chunks"])
SIMILARITY = dg.AssetKey([GROUP, "similarity"])
DERIVE_OP = "documents_derive_days"
VERDICT_OP, VERDICT_CHECK = "documents_verdict", "has_good_verdict"
PAIRS_CHECK = "names_existing_documents"
IN_TIME_CHECK = "is_loaded_in_time"

DAYS = build_utc_days(FIRST_DAY)

CHUNK_SOURCES = {
    "document_id": "document_id",
    "chunk_id": "document_id",
    "page_number": "page_number",
    "start_offset": "text",
    "end_offset": "text",
    "section_path": "headings",
    "word_count": "text",
    "text": "text",
}
"""Columns of `documents_chunks`, and those of `documents_pages` that they come from."""

SIMILARITY_SOURCES = {
    "document_id": "document_id",
    "similar_id": "document_id",
    "score": "text",
    "group_id": "document_id",
}
"""Columns of `documents_similarity`, and those of `documents_chunks` whose words they come from."""

files = build_asset_spec(
    FILES,
    str(documents_files.comment),
    build_schema(documents_files.columns),
    SOURCE,
    owners=OWNERS,
    **{"dagster/table_name": documents_files.name},
)
"""Nothing makes it here: polls of the source fill it."""


def build_table_spec(
    key: dg.AssetKey,
    table: Table,
    kind: str,
    source: dg.AssetKey,
    made_of: Mapping[str, str] | None = None,
) -> dg.AssetSpec:
    """Return the spec of a table; ``made_of`` names the column of the source of each column."""
    lineage = {name: [dg.TableColumnDep(source, of)] for name, of in (made_of or {}).items()}
    return build_asset_spec(
        key,
        str(table.comment),
        build_schema(table.columns),
        kind,
        source,
        owners=OWNERS,
        **{
            "dagster/table_name": table.name,
            **({"dagster/column_lineage": dg.TableColumnLineage(lineage)} if made_of else {}),
        },
    )
