"""What Dagster stores of a failure shows no secret, in SQLite and in PostgreSQL."""

import dagster as dg
import pytest

from orchestration_project.instance.storage import open_instance
from orchestration_project.redaction import hide

SECRET = "planted-in-an-error"


@dg.asset
def fails(context: dg.AssetExecutionContext):
    context.log.warning(f"asked with {SECRET}")
    raise ValueError(f"the source answered {SECRET}")


@dg.asset
def tells(context: dg.AssetExecutionContext):
    context.add_output_metadata({"url": f"https://host/?key={SECRET}"})


@pytest.fixture(params=["sqlite", "postgresql"])
def instance(request, tmp_path, monkeypatch):
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DAGSTER_DATABASE_URL", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("DAGSTER_DATABASE_URL", request.getfixturevalue("postgres_url"))
    hide(SECRET)
    with open_instance() as instance:
        yield instance


def test_a_secret_in_an_error_a_log_line_or_metadata_is_masked_in_the_event_log(
    instance, tmp_path, capfd
):
    result = dg.materialize([fails, tells], instance=instance, raise_on_error=False)
    stored = instance.all_logs(result.run_id)
    texts = [f"{entry.user_message} {entry.dagster_event}" for entry in stored]
    assert not [text for text in texts if SECRET in text]
    assert [text for text in texts if "the source answered ***" in text]
    assert [text for text in texts if "asked with ***" in text]
    assert [text for text in texts if "https://host/?key=***" in text]
    files = [file for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert SECRET not in "".join(capfd.readouterr())
