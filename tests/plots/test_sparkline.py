"""Small lines: any values give a short, well-formed image."""

import base64
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.plots.sparkline import HEIGHT, MAX_POINTS, WIDTH, sparkline
from tests.properties import bounded

PREFIX = "data:image/svg+xml;base64,"
VALUES = st.none() | st.floats() | st.integers(-(2**63), 2**63 - 1)


def check_svg_and_read_path(values) -> str:
    """Return the commands of the line, of an SVG that must be well-formed."""
    uri = sparkline(values)
    assert uri.startswith(PREFIX)
    svg = ElementTree.fromstring(base64.b64decode(uri.removeprefix(PREFIX)))  # noqa: S314 - ours
    assert (svg.get("width"), svg.get("height")) == (str(WIDTH), str(HEIGHT))
    return str(svg[0].get("d"))


@bounded
@given(st.lists(VALUES, max_size=60))
def test_any_sixty_values_fit_a_cell_of_a_table(values):
    assert len(sparkline(values)) < 900
    check_svg_and_read_path(values)


@bounded
@given(st.lists(st.sampled_from([0.0, 1.0, None]), min_size=60, max_size=60))
def test_lines_that_jump_or_break_at_each_point_fit_too(values):
    assert len(sparkline(values)) < 900


@bounded
@given(st.lists(VALUES, max_size=60))
def test_a_line_of_synthetic_values_is_marked_below_and_fits(values):
    marked = sparkline(values, is_synthetic=True)
    assert len(marked) < 900
    svg = ElementTree.fromstring(base64.b64decode(marked.removeprefix(PREFIX)))  # noqa: S314 - ours
    path, text = svg
    assert (path.get("d"), text.text) == (check_svg_and_read_path(values), "SYNTHETIC DATA")
    assert HEIGHT < int(text.get("y", 0)) < int(svg.get("height", 0))


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right():
    assert check_svg_and_read_path([-1, 0, 3]) == "M2 22h0l60 -5l60 -15"


def test_a_gap_breaks_the_line_and_a_point_alone_is_a_dot():
    assert (
        check_svg_and_read_path([1, None, 1, 2, float("nan"), 2])
        == "M2 22h0M50 22h0l24 -20M122 2h0"
    )


def test_equal_values_lie_in_the_middle():
    assert check_svg_and_read_path([7, 7]) == "M2 12h0l120 0"
    assert check_svg_and_read_path([0]) == "M2 12h0"


def test_without_values_there_is_an_empty_image():
    assert check_svg_and_read_path([]) == check_svg_and_read_path([None, None]) == ""


def test_of_many_values_the_newest_are_drawn():
    assert sparkline([100.0] * 40 + [1.0, 2.0] * 30) == sparkline([1.0, 2.0] * 30)
    assert len([1.0, 2.0] * 30) == MAX_POINTS
