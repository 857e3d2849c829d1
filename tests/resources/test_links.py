"""Links from metadata to the gateway."""

import pytest

from orchestration_project.services.links import (
    base_of,
    build_captures_path,
    build_file_path,
    name_in,
)


@pytest.mark.parametrize(
    ("public_url", "base"),
    [
        ("https://data.example.org/", "https://data.example.org"),
        ("https://user:secret@data.example.org/dagster", "https://data.example.org/dagster"),
        ("http://127.0.0.1:3000", ""),
        ("http://localhost:4080/", ""),
        ("http://[::1]:3000", ""),
    ],
)
def test_links_begin_with_the_public_url_unless_it_is_of_this_machine_alone(public_url, base):
    assert base_of(public_url) == base


def test_what_is_no_letter_of_an_address_is_escaped():
    assert build_captures_path("T1|2026-01-05#1") == (
        "/api/v1/artifacts?where=group_id%3DT1%7C2026-01-05%231"
    )
    name = "plots/prices/a&b.svg"
    assert name_in(build_file_path(name)) == name
