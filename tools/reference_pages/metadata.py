"""The page of metadata keys: each with its unit and meaning."""

from tools.reference_pages.markdown import code, page, section, table
from tools.reference_pages.metadata_keys import GROUPS


def write() -> str:
    """Return the page."""
    return page(
        "metadata",
        [
            section(
                group.title,
                table(
                    ("key", "unit", "meaning"),
                    [(code(name), key.unit, key.meaning) for name, key in group.keys.items()],
                ),
            )
            for group in GROUPS
        ],
    )
