"""Graph of components: cycles by name, layers, and Mermaid that no text breaks out of."""

import pytest

from orchestration_project.domains.mqtt.charts import project_graph
from orchestration_project.domains.mqtt.graph import Node, cycles, mermaid, shown_graph


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ([("a", "b"), ("b", "c"), ("a", "c")], []),
        ([("a", "a")], [["a"]]),
        ([("b", "a"), ("a", "b"), ("c", "a")], [["a", "b"]]),
        (
            [("a", "b"), ("b", "c"), ("c", "a"), ("x", "y"), ("y", "x")],
            [["a", "b", "c"], ["x", "y"]],
        ),
        ([(str(number), str(number + 1)) for number in range(5_000)], []),
    ],
)
def test_cycles_are_named(edges, expected):
    assert cycles(edges) == expected


def test_what_is_needed_first_stands_in_an_earlier_layer():
    nodes = [Node(letter, letter.upper(), "p") for letter in "abcd"]
    graph = shown_graph(nodes, [("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")])
    assert graph.layers == [["b", "c"], ["a"], ["d"]]


def test_a_picture_shows_the_most_connected_and_counts_the_others():
    nodes = [Node(letter, letter) for letter in "abcd"]
    graph = shown_graph(nodes, [("a", "b"), ("b", "unknown")], limit=3)
    assert (list(graph.nodes), graph.left_out_count) == (["a", "b", "unknown"], 2)


def test_texts_are_escaped_in_mermaid():
    graph = shown_graph([Node("a", 'x"] --> evil<b>', "Pro|ject", "blocked", 50)], [])
    text = mermaid(graph)
    assert "evil#60;b#62;" in text
    assert '"]' not in text.replace('"]\n', "").replace('"]:::blocked', "")
    assert "classDef blocked" in text


def test_the_picture_is_the_same_for_the_same_graph():
    graph = shown_graph([Node("a", "A"), Node("b", "B\0$x$", None, "completed", 1)], [("a", "b")])
    assert project_graph(graph) == project_graph(graph)
