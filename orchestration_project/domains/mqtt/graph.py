"""Graph of components and what they need first: cycles, layers, and its text in Mermaid."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

MAX_NODES = 60
"""Components that a picture shows: more cannot be read."""

STATUS_CLASSES = {
    "pending": "fill:none,stroke:#7a8190",
    "in_progress": "fill:none,stroke:#0072b2,stroke-width:3px",
    "completed": "fill:#0072b2,color:#fff",
    "blocked": "fill:#d55e00,color:#fff",
}
"""Style of a component in Mermaid, by its status."""


@dataclass(frozen=True)
class Node:
    """A component.

    Attributes:
        component_id: Its ID.
        label: Its name, or the ID if no event gave one.
        project: Name of its project, or the ID; None: no event gave one.
        status: Its status; None: no event gave one.
        progress: 0 to 100; None: no event gave one.
    """

    component_id: str
    label: str
    project: str | None = None
    status: str | None = None
    progress: int | None = None


@dataclass(frozen=True)
class Graph:
    """Components, and pairs of a component and one that it needs first.

    Attributes:
        nodes: Components by ID.
        edges: Pairs of IDs of which both are nodes.
        left_out_count: Components that are not shown.
    """

    nodes: Mapping[str, Node]
    edges: Sequence[tuple[str, str]]
    left_out_count: int = 0

    @property
    def layers(self) -> Sequence[Sequence[str]]:
        """Return IDs in layers: what a component needs lies in an earlier one, but for cycles."""
        needed = _group_needs(self.edges)
        component_of = {
            name: number
            for number, group in enumerate(strong_components(self.nodes, self.edges))
            for name in group
        }
        depths: dict[str, int] = {}
        # strong components come in an order in which what is needed stands first
        for group_id in sorted(set(component_of.values())):
            group = [name for name in component_of if component_of[name] == group_id]
            outside = [
                depths[other]
                for name in group
                for other in needed.get(name, ())
                if component_of[other] != group_id
            ]
            depth = max(outside, default=-1) + 1
            depths.update(dict.fromkeys(group, depth))
        layers: list[list[str]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
        for node in sorted(self.nodes, key=lambda one: (self.nodes[one].project or "", one)):
            layers[depths[node]].append(node)
        return layers


def shown_graph(
    nodes: Iterable[Node], edges: Iterable[tuple[str, str]], *, limit: int = MAX_NODES
) -> Graph:
    """Return the part of a graph that a picture shows: components with most edges first.

    A component that dependencies name but no event made is a node without status.
    """
    pairs = sorted(set(edges))
    known_nodes = {node.component_id: node for node in nodes}
    for name in {one for pair in pairs for one in pair} - known_nodes.keys():
        known_nodes[name] = Node(name, name)
    degrees = dict.fromkeys(known_nodes, 0)
    for pair in pairs:
        for name in pair:
            degrees[name] += 1
    chosen = sorted(
        known_nodes, key=lambda one: (-degrees[one], known_nodes[one].project or "", one)
    )[:limit]
    kept_nodes = {name: known_nodes[name] for name in sorted(chosen)}
    return Graph(
        kept_nodes,
        [pair for pair in pairs if pair[0] in kept_nodes and pair[1] in kept_nodes],
        len(known_nodes) - len(kept_nodes),
    )


def cycles(edges: Iterable[tuple[str, str]]) -> Sequence[Sequence[str]]:
    """Return the groups of components that need each other, each by ID; one may need itself."""
    pairs = list(edges)
    nodes = sorted({name for pair in pairs for name in pair})
    loops = {first for first, second in pairs if first == second}
    return sorted(
        sorted(group)
        for group in strong_components(nodes, pairs)
        if len(group) > 1 or group[0] in loops
    )


@dataclass
class _Walk:
    """State of Tarjan's algorithm, without recursion: a chain may be as long as the graph."""

    order: dict[str, int] = field(default_factory=dict)
    lowest: dict[str, int] = field(default_factory=dict)
    stack: list[str] = field(default_factory=list)
    on_stack: set[str] = field(default_factory=set)
    found: list[list[str]] = field(default_factory=list)

    def enter(self, node: str) -> None:
        self.order[node] = self.lowest[node] = len(self.order)
        self.stack.append(node)
        self.on_stack.add(node)

    def leave(self, node: str) -> None:
        if self.lowest[node] != self.order[node]:
            return
        group: list[str] = []
        while not group or group[-1] != node:
            group.append(self.stack.pop())
            self.on_stack.discard(group[-1])
        self.found.append(group)


def strong_components(
    nodes: Iterable[str], edges: Iterable[tuple[str, str]]
) -> Sequence[Sequence[str]]:
    """Return groups of nodes that reach each other; a group follows those that it leads to."""
    needed, walk = _group_needs(edges), _Walk()
    for start in sorted(nodes):
        if start in walk.order:
            continue
        walk.enter(start)
        path = [(start, iter(needed.get(start, ())))]
        while path:
            node, names = path[-1]
            other = next(names, None)
            if other is None:
                path.pop()
                walk.leave(node)
                if path:
                    parent = path[-1][0]
                    walk.lowest[parent] = min(walk.lowest[parent], walk.lowest[node])
            elif other not in walk.order:
                walk.enter(other)
                path.append((other, iter(needed.get(other, ()))))
            elif other in walk.on_stack:
                walk.lowest[node] = min(walk.lowest[node], walk.order[other])
    return walk.found


def mermaid(graph: Graph) -> str:
    """Return a graph as a flowchart of Mermaid, projects as subgraphs; texts are escaped."""
    numbers = {item: f"c{number}" for number, item in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    projects = sorted({node.project for node in graph.nodes.values() if node.project is not None})
    for number, project in enumerate(projects):
        lines.append(f'  subgraph p{number}["{_escape_label(project)}"]')
        lines += [
            f"    {_render_node(numbers[key], node)}"
            for key, node in graph.nodes.items()
            if node.project == project
        ]
        lines.append("  end")
    lines += [
        f"  {_render_node(numbers[key], node)}"
        for key, node in graph.nodes.items()
        if node.project is None
    ]
    lines += [f"  {numbers[second]} --> {numbers[first]}" for first, second in graph.edges]
    used = {node.status for node in graph.nodes.values()}
    lines += [
        f"  classDef {name} {style}" for name, style in STATUS_CLASSES.items() if name in used
    ]
    return "\n".join(lines) + "\n"


def _render_node(number: str, node: Node) -> str:
    progress = "" if node.progress is None else f" {node.progress}%"
    style = f":::{node.status}" if node.status in STATUS_CLASSES else ""
    return f'{number}["{_escape_label(node.label)}{progress}"]{style}'


def _escape_label(text: str) -> str:
    """Return a text as Mermaid shows it: letters, digits, spaces, and others by their code."""
    return "".join(
        character if character.isalnum() or character == " " else f"#{ord(character)};"
        for character in text[:60]
    )


def _group_needs(edges: Iterable[tuple[str, str]]) -> Mapping[str, Sequence[str]]:
    """Return the components that each component needs first."""
    needed: dict[str, list[str]] = {}
    for first, second in sorted(set(edges)):
        needed.setdefault(first, []).append(second)
    return needed
