"""Whatever a user can name stays as it is, unless `tests/definitions.txt` changes with it."""

from tests.definition_surface import FILE, surface


def test_what_users_can_name_is_what_the_file_says():
    assert surface() == FILE.read_text(), (
        "what users can name changed; if that is meant: python -m tests.definition_surface"
    )
