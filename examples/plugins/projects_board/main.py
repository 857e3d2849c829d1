"""Shows projects by status: a table and a chart of a run, and JSON of its endpoint."""

from collections import Counter

from plugin import start

BAR_WIDTH, LINE_HEIGHT = 240, 22


def cell(value):
    """Return a value as the text of a table's cell."""
    return str(value if value is not None else "-").replace("|", "\\|").replace("\n", " ")


def table(projects):
    """Return projects as a Markdown table."""
    head = ["| project | name | status |", "|---|---|---|"]
    names = ("project_id", "name", "status")
    rows = ["| " + " | ".join(cell(each[name]) for name in names) + " |" for each in projects]
    return "\n".join([*head, *rows])


def chart(counts):
    """Return the number of projects by status as bars."""
    most = max(counts.values(), default=1)
    bars = []
    for number, (status, count) in enumerate(sorted(counts.items())):
        top, width = number * LINE_HEIGHT, BAR_WIDTH * count // most
        label = cell(status).replace("&", "&amp;").replace("<", "&lt;")
        bars.append(f'<rect x="120" y="{top + 3}" width="{width}" height="16" fill="#2a3fd0"/>')
        bars.append(f'<text x="0" y="{top + 16}" font-size="14">{label}: {count}</text>')
    height = max(len(counts), 1) * LINE_HEIGHT
    size = f'width="{BAR_WIDTH + 130}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(bars)}</svg>'


with start() as run:
    if run.endpoint:
        projects = run.read("projects", **run.parameters)
        by_status = {}
        for each in projects:
            by_status.setdefault(each["status"] or "unknown", []).append(each["name"])
        run.answer({"project_count": len(projects), "by_status": by_status})
    else:
        projects = run.read("projects")
        run.page("markdown", table(projects))
        run.page("svg", chart(Counter(each["status"] or "unknown" for each in projects)))
