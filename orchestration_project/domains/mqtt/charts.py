"""The picture of components: what each needs first stands left of it."""

from typing import TYPE_CHECKING

from orchestration_project.domains.mqtt.graph import Graph
from orchestration_project.plots.figures import (
    BLUE,
    INK,
    PURPLE,
    VERMILLION,
    mark_synthetic,
    styled,
    svg_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"pending": INK, "in_progress": PURPLE, "completed": BLUE, "blocked": VERMILLION}
"""Colour of a component by its status; others have that of text."""

WIDTH_INCHES, ROW_INCHES, LEAST_INCHES = 11.0, 0.42, 2.0
LABEL_LENGTH = 22


def project_graph(graph: Graph, *, is_synthetic: bool = False) -> bytes:
    """Draw components in layers, with an arrow from what is needed first; return SVG."""
    from matplotlib.figure import Figure

    layers = graph.layers
    rows = max((len(layer) for layer in layers), default=1)
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, max(LEAST_INCHES, rows * ROW_INCHES + 0.8)))
        axes = figure.add_axes((0.02, 0.02, 0.96, 0.9))
        axes.set_axis_off()
        axes.set_xlim(-0.3, max(len(layers) - 0.2, 1))
        axes.set_ylim(-rows, 1)
        axes.set_title("Components and what they need first")
        places = {
            name: (float(column), -float(row))
            for column, layer in enumerate(layers)
            for row, name in enumerate(layer)
        }
        _draw(axes, graph, places)
        if is_synthetic:
            mark_synthetic(figure)
        return svg_of(figure)


def _draw(axes: "Axes", graph: Graph, places: dict[str, tuple[float, float]]) -> None:
    for first, second in graph.edges:
        axes.annotate(
            "",
            xy=places[first],
            xytext=places[second],
            arrowprops={"arrowstyle": "->", "color": INK, "alpha": 0.6, "shrinkA": 6, "shrinkB": 6},
        )
    for name, (x, y) in places.items():
        node = graph.nodes[name]
        axes.plot([x], [y], marker="o", markersize=7, color=COLOURS.get(node.status or "", INK))
        label = node.label if len(node.label) <= LABEL_LENGTH else f"{node.label[:LABEL_LENGTH]}…"
        progress = "" if node.progress is None else f" {node.progress} %"
        text = "".join(letter if letter.isprintable() else "?" for letter in label)
        axes.text(x + 0.04, y + 0.18, f"{text}{progress}", fontsize=8, color=INK)
