"""Exports of a site's items, as its file declares them."""

from typing import Annotated, Literal

from pydantic import Field

from orchestration_project.domains.web.declaration import Strict

MAX_EXPORTS = 20

ExportName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,19}$")]


class ItemExport(Strict):
    """A delivery of the site's rows after each complete crawl.

    Attributes:
        target: Name of a target in EXPORTS_FILE; default: the artifact store.
        rows: Whether items or their fields are delivered: rows of ``web_items`` or of
            ``web_item_fields``.
        columns: Columns in order; default: all.
        format: File format, default parquet; not of a database.
        escape_formulas: Whether CSV has ' before texts that a spreadsheet would calculate; default:
            only in columns that senders write. The other formats have texts as they are.
        target_table: Table of a database target; default: <site>_<name of the export>.
        alert_after_hours: Waiting time of an undelivered export after which a check fails.
    """

    target: str = Field(default="artifacts", min_length=1, max_length=40)
    rows: Literal["items", "fields"] = "items"
    columns: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(
        default=[], max_length=20
    )
    format: Literal["csv", "ndjson", "parquet"] | None = None
    escape_formulas: bool | None = None
    target_table: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    alert_after_hours: float = Field(default=1, ge=0, le=36_500 * 24, strict=False)
