"""Completion as shells ask for it: bash runs our script, zsh and fish have a protocol each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.settings import PROJECT_ROOT
from tests.cli.test_alerts import store

WEEKS = ["T1|2026-10-05", "T1|2026-10-12", "T2|2026-10-05"]
BIN = Path(sys.executable).parent

BASH = """
eval "$(orchestrate completion bash)"
COMP_WORDS=(orchestrate "$@"); COMP_CWORD=$#
_orchestrate_completion orchestrate
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""

MODULES = """
import sys
from orchestration_project.__main__ import main
main()
found = sorted({"dagster", "pandas", "alembic", "httpx"} & sys.modules.keys())
sys.exit(f"imported: {found}" if found else 0)
"""


def environment(folder: Path, **others: str) -> dict[str, str]:
    """Return the environment of a user's shell whose installation lies in ``folder``."""
    path = f"{BIN}:{os.environ['PATH']}"  # noqa: TID251 - not a setting
    return {"PATH": path, "STATE_DIR": str(folder), "DOMAINS": "all", **others}


@pytest.fixture(scope="module")
def installation(tmp_path_factory) -> Path:
    """STATE_DIR in which `orchestrate datasets` listed a dataset with three partitions."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "datasets.json").write_text(json.dumps({"finra_otc_weekly": WEEKS, "fx_rates": []}))
    return folder


def complete_in_bash_and_expect_no_error(folder: Path, *words: str) -> list[str]:
    """Return what bash proposes for the last of ``words``."""
    done = subprocess.run(  # noqa: S603 - our program
        ["bash", "--norc", "-c", BASH, "bash", *words],  # noqa: S607 - of the PATH
        env=environment(folder),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split("\n")[:-1]


def complete_and_expect_no_error(folder: Path, shell: str, *words: str) -> list[str]:
    """Return what our program answers the script of a shell; heavy packages are an error."""
    number = words[-1] if shell == "fish" else str(len(words))
    given = {"COMP_WORDS": " ".join(["orchestrate", *words]), "COMP_CWORD": number}
    done = subprocess.run(  # noqa: S603 - our program
        [sys.executable, "-c", MODULES],
        env=environment(folder, _ORCHESTRATE_COMPLETE=f"{shell}_complete", **given),
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split("\n")[:-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["load", "fin"], ["finra_otc_weekly"]),
        (["load", "finra_otc_weekly", "T1"], [r"T1\|2026-10-12", r"T1\|2026-10-05"]),
        (["load", "finra_otc_weekly", r"T1\|2026-10-1"], [r"T1\|2026-10-12"]),
        (["load", "unknown_dataset", ""], []),
    ],
)
def test_bash_completes_names_of_the_installation(words: list[str], proposed, installation: Path):
    assert complete_in_bash_and_expect_no_error(installation, *words) == proposed


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        ("replay T2", ["T2|2026-10-05"]),
        ("backfill finra_otc_weekly --from T2", ["T2|2026-10-05"]),
        ("export market_volume_d", ["market_volume_daily", "market_volume_daily_history"]),
        (
            "export market_volume_daily --columns trade_date,tape_a_n",
            ["trade_date,tape_a_notional_usd"],
        ),
        ("explain finra_otc_weekly x share_", ["share_quantity"]),
        ("domains add finra/treasury_m", ["finra/treasury_monthly"]),
        ("pause docu", ["documents"]),
        ("alerts cl", ["close"]),
    ],
)
def test_each_kind_of_name_is_completed(
    words: str, proposed: list[str], installation: Path, monkeypatch, capsys
):
    given, _, last = words.rpartition(" ")
    for name, value in environment(installation).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_ORCHESTRATE_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", f"orchestrate {given} ")
    monkeypatch.setenv("COMP_CWORD", last)
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("plain,").partition("\t")[0] for line in lines] == proposed


def test_open_alerts_are_completed_by_their_ids(partition_loader, monkeypatch, capsys):
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    assert main(["alerts", "list", "--json"]) == 0
    (alert,) = json.loads(capsys.readouterr().out)["alerts"]
    monkeypatch.setenv("_ORCHESTRATE_COMPLETE", "fish_complete")
    monkeypatch.setenv("COMP_WORDS", "orchestrate alerts close ")
    monkeypatch.setenv("COMP_CWORD", alert["alert_id"][:3])
    assert main([]) == 0
    assert capsys.readouterr().out.startswith(f"plain,{alert['alert_id']}\tit failed")


@pytest.mark.slow_after_first
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_partitions_as_they_are(shell: str, installation: Path):
    answer = complete_and_expect_no_error(installation, shell, "load", "finra_otc_weekly", "T2")
    expected = {"zsh": ["plain", "T2|2026-10-05", "_"], "fish": ["plain,T2|2026-10-05"]}
    assert answer == expected[shell]


def test_without_a_list_of_datasets_nothing_is_proposed(tmp_path: Path):
    assert complete_and_expect_no_error(tmp_path, "zsh", "load", "fin") == [""]


def test_listing_datasets_stores_them_for_completion(tmp_path: Path, monkeypatch, capsys):
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert main(["datasets", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    listed = {dataset["name"]: dataset["partition_count"] or 0 for dataset in answer}
    stored = json.loads((tmp_path / "datasets.json").read_text())
    assert {name: len(keys) for name, keys in stored.items()} == listed
    assert stored["finra_otc_weekly"][0].count("|") == 1
