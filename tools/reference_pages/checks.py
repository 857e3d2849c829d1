"""The page of asset checks: claim of each, effect of a failure, limit, and what to do."""

from collections import defaultdict

import dagster as dg

from orchestration_project.definitions import defs
from tools.reference_pages.markdown import code, codes, first_sentence, page, section, table

COLUMNS = ("check", "when it fails", "claim", "limit", "what to do")


def write() -> str:
    """Return the page."""
    graph = defs.resolve_asset_graph()
    of_asset: defaultdict[str, list[dg.AssetCheckSpec]] = defaultdict(list)
    for key in sorted(graph.asset_check_keys, key=lambda each: each.name):
        of_asset[key.asset_key.to_user_string()].append(graph.get_check_spec(key))
    return page(
        "checks",
        [
            section(code(asset), table(COLUMNS, map(_row, specs)))
            for asset, specs in sorted(of_asset.items())
        ],
    )


def _row(spec: dg.AssetCheckSpec) -> tuple[str, ...]:
    notes = spec.metadata
    return (
        code(spec.name),
        str(notes["effect"]),
        first_sentence(spec.description),
        str(notes.get("limit", "")) or codes(str(notes.get("settings", "")).split()),
        str(notes.get("remedy", "")),
    )
