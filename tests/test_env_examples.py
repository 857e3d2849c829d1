"""The complete examples of `.env` are valid, and name their purpose."""

import pytest

from orchestration_project.settings import PROJECT_ROOT, settings_of_file

EXAMPLES = PROJECT_ROOT / "examples"
SECRET = "-".join(["a", "session", "secret", "of", "the", "tests", "long", "enough"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("env.local", {"data_profile": "demo", "finra_source": "demo"}),
        ("env.finra-api", {"data_profile": "real", "finra_source": "api"}),
        ("env.production", {"data_profile": "real", "finra_source": "api"}),
    ],
)
def test_a_complete_example_is_valid(name, expected, tmp_path):
    secret = tmp_path / "session_secret"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    text = (EXAMPLES / name).read_text()
    file = tmp_path / ".env"
    file.write_text(text.replace("/etc/orchestration_project/session_secret", str(secret)))
    settings = settings_of_file(file)
    assert {each: getattr(settings, each) for each in expected} == expected
    assert not settings.problems
    assert (settings.session_secret is not None) is (name == "env.production")
    if settings.session_secret is not None:
        assert settings.session_secret.get_secret_value() == SECRET
