"""The picture of tasks on their way to issues: well-formed, and small enough for its place."""

import base64
from xml.etree import ElementTree

from orchestration_project.domains.saas.charts import flow


def test_five_large_numbers_fit_the_place_in_which_dagster_shows_a_picture():
    names = ["tasks", "by a rule", "issues", "waiting", "refused"]
    uri = flow([(name, 1_000_000) for name in names])
    svg = ElementTree.fromstring(base64.b64decode(uri.partition(",")[2]))  # noqa: S314 - ours
    texts = [str(element.text) for element in svg if element.tag.endswith("text")]
    assert texts == [text for name in names for text in ("1000000", name)]
    assert len(uri) < 950
    marked = flow([(name, 1_000_000) for name in names], is_synthetic=True)
    svg = ElementTree.fromstring(base64.b64decode(marked.partition(",")[2]))  # noqa: S314 - ours
    assert [element.text for element in svg if element.tag.endswith("text")] == [
        *texts,
        "SYNTHETIC DATA",
    ]
    assert len(marked) < 950


def test_what_is_no_step_has_no_arrow_before_it():
    steps, beside = [("tasks", 3), ("issues", 2)], [("refused", 1)]
    svg = ElementTree.fromstring(base64.b64decode(flow(steps, beside).partition(",")[2]))  # noqa: S314 - ours
    [path] = [element.get("d", "") for element in svg if element.tag.endswith("path")]
    assert path.count("M") == 1
