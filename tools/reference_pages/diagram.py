"""Entity diagrams as SVG: a box for each table with its key, an arrow to what is made of it.

Plain SVG needs no script, no font and no network, on the site and wherever Markdown is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from statistics import mean

from sqlalchemy import Table

from orchestration_project.tables.schema import HISTORY, key_names
from tools.reference_pages.tables import Group, data_tables, groups, sources

CONTENT = "tables, keys and what each is made of"

LINE, PADDING, GAP_X, GAP_Y, CHARACTER = 18, 10, 70, 24, 7.4
OWNERS = {"capture_id": "captures", "group_id": "deliveries", "sha256": "blobs"}
"""Columns that lead to what every domain shares."""

OWNERS_IN_KEYS = {"alert_id": "operations_alerts", "run_id": "operations_runs"}
"""Columns that lead to another table where they are in a key of several columns."""

STYLE = """
  text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2937 }
  .name { font-weight: bold }
  .box { fill: #f8fafc; stroke: #475569 }
  .outside { fill: #ffffff; stroke: #94a3b8; stroke-dasharray: 4 3 }
  .arrow { fill: none; stroke: #475569; marker-end: url(#end) }
"""


def write() -> Mapping[str, str]:
    """Return the diagrams of each group and of the data dictionary by the names of their files."""
    of_groups = {
        f"diagrams/{group.name}.svg": draw(f"{group.title}: {CONTENT}", *_model(tables, _owners))
        for group in groups()
        if len(tables := _current(group)) > 1
    }
    dictionary = draw(f"Data dictionary: {CONTENT}", *_model(data_tables(), lambda _: ()))
    return {**of_groups, "diagrams/dictionary.svg": dictionary}


Boxes = Mapping[str, Sequence[str]]
Arrow = tuple[str, str]
Place = tuple[float, float, float, float]
"""Left, top, width and height of a box."""


def _current(group: Group) -> list[Table]:
    return [each for each in group.tables if not each.name.endswith("_history")]


def _model(
    shown: Sequence[Table], owners_of: Callable[[Table], Sequence[str]]
) -> tuple[Boxes, Sequence[tuple[str, str]]]:
    """Return lines of each box and the arrows between boxes; boxes without lines lie elsewhere.

    Args:
        shown: Tables and views.
        owners_of: Tables that one refers to which is not made of others.
    """
    boxes: dict[str, list[str]] = {}
    arrows: list[tuple[str, str]] = []
    for each in shown:
        lines = [f"key {name}" for name in key_names(each)]
        boxes[each.name] = [*lines, *(["+ _history"] if HISTORY in each.info else [])]
        arrows += [(origin, each.name) for origin in sources(each) or owners_of(each)]
    for origin, _ in arrows:
        boxes.setdefault(origin, [])
    return boxes, arrows


def _owners(declared: Table) -> list[str]:
    keys = key_names(declared)
    found = [owner for name, owner in OWNERS.items() if name in declared.columns]
    if len(keys) > 1:
        found += [owner for name, owner in OWNERS_IN_KEYS.items() if name in keys]
    return [owner for owner in found if owner != declared.name]


def _layers(boxes: Boxes, arrows: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return the boxes by their distance from what is made of nothing, in a steady order."""
    depth = dict.fromkeys(boxes, 0)
    for _ in boxes:
        for origin, made in arrows:
            depth[made] = max(depth[made], min(depth[origin] + 1, len(boxes)))
    for origin in boxes.keys() - {made for _, made in arrows}:
        depth[origin] = min((depth[made] - 1 for one, made in arrows if one == origin), default=0)
    joined = {name for arrow in arrows for name in arrow}
    layers: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name in boxes:
        layers[depth[name]].append(name)
    if len(layers) == 1:  # nothing is made of another: a grid
        return [layers[0][place::3] for place in range(min(3, len(boxes)))]
    for layer in layers:
        layer.sort(key=lambda name: (name not in joined, not boxes[name]))
    place = {name: at for layer in layers for at, name in enumerate(layer)}
    for layer in layers[1:]:
        origins = {name: [place[one] for one, made in arrows if made == name] for name in layer}
        layer.sort(key=lambda name: mean(origins[name] or [len(boxes)]))
        place |= {name: at for at, name in enumerate(layer)}
    return layers


def draw(title: str, boxes: Boxes, arrows: Sequence[Arrow], *, is_down: bool = False) -> str:
    """Return the SVG of boxes and arrows, which lead from left to right, or ``is_down``."""
    at = _places(_layers(boxes, arrows), boxes, is_down=is_down)
    width = max(x + wide for x, _, wide, _ in at.values()) + PADDING
    height = max(y + high for _, y, _, high in at.values()) + PADDING
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#475569"/></marker>'
        "</defs>",
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="6" fill="#ffffff"/>',
        *(_arrow(at[origin], at[made], is_down=is_down) for origin, made in sorted(set(arrows))),
        *(_box(name, boxes[name], *at[name]) for name in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _places(layers: Sequence[Sequence[str]], boxes: Boxes, *, is_down: bool) -> dict[str, Place]:
    """Return the place of each box; a layer is a column, or a row if arrows lead down."""
    at: dict[str, Place] = {}
    x = y = float(PADDING)
    for layer in layers:
        texts = {name: (name, *boxes[name]) for name in layer}
        widths = {name: max(map(len, texts[name])) * CHARACTER + 2 * PADDING for name in layer}
        if not is_down:
            widths = dict.fromkeys(widths, max(widths.values()))
        for name in layer:
            height = len(texts[name]) * LINE + PADDING
            at[name] = (x, y, widths[name], height)
            x, y = (x + widths[name] + GAP_Y, y) if is_down else (x, y + height + GAP_Y)
        _, _, width, height = at[layer[-1]]
        x, y = (PADDING, y + height + GAP_Y) if is_down else (x + width + GAP_X, PADDING)
    return at


def _arrow(origin: Place, made: Place, *, is_down: bool) -> str:
    x, y, width, height = origin
    to_x, to_y, to_width, to_height = made
    if is_down:
        x, y, to_x = x + width / 2, y + height, to_x + to_width / 2
        bends = (x, y + GAP_Y / 2, to_x, to_y - GAP_Y / 2)
    else:
        x, y, to_y = x + width, y + height / 2, to_y + to_height / 2
        bends = (x + GAP_X / 2, y, to_x - GAP_X / 2, to_y)
    curve = "C{:.0f} {:.0f} {:.0f} {:.0f}".format(*bends)
    return f'<path class="arrow" d="M{x:.0f} {y:.0f} {curve} {to_x:.0f} {to_y:.0f}"/>'


def _box(name: str, lines: Sequence[str], x: float, y: float, width: float, height: float) -> str:
    kind = "box" if lines else "outside"
    texts = [f'<text class="name" x="{x + PADDING:.0f}" y="{y + LINE:.0f}">{escape(name)}</text>']
    texts += [
        f'<text x="{x + PADDING:.0f}" y="{y + LINE * (at + 2):.0f}">{escape(line)}</text>'
        for at, line in enumerate(lines)
    ]
    rect = (
        f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" rx="4"/>'
    )
    return "\n".join([rect, *texts])
