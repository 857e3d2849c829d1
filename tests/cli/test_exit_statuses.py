"""Every command refuses a mistyped name by exit status 2, whatever the name is of."""

import pytest

from orchestration_project.__main__ import main

BOTH_TIMES = ["--from", "2026-01-01T00:00Z", "--to", "2026-01-02T00:00Z"]
WEEK = "T1|2026-10-05"

MISTYPED = [
    ["mistyped"],
    ["attention", "mistyped"],
    ["run", "mistyped"],
    ["load", "mistyped"],
    ["load", "finra_otc_weekly", "mistyped"],
    ["load", "web", "mistyped"],
    ["load", "documents", "mistyped"],
    ["backfill", "mistyped", "--from", "2026-01-01", "--to", "2026-01-02"],
    ["backfill", "finra_otc_weekly", "--from", "mistyped", "--to", "2026-01-02"],
    ["backfill", "finra_otc_weekly", "--from", "T9|2026-01-05", "--to", "T9|2026-01-05"],
    ["replay", "mistyped"],
    ["replay", "--table", "mistyped", "--all"],
    ["replay", "--tier", "mistyped"],
    ["replay", "--group", "mistyped"],
    ["replay", "web_items", "mistyped"],
    ["preview", "mistyped"],
    ["test", "mistyped"],
    ["items", "list", "--state", "mistyped"],
    ["documents", "timeline", "mistyped"],
    ["web", "check", "mistyped"],
    ["export", "mistyped"],
    ["export", "finra_otc_weekly", "--columns", "mistyped"],
    ["export", "finra_otc_weekly", "--where", "mistyped=1"],
    ["export", "finra_otc_weekly", "--order-by", "mistyped"],
    ["export", "mistyped", "--dataset", "folder"],
    ["export", "finra_otc_weekly", "--dataset", "folder", "--partition-by", "mistyped"],
    ["diff", "mistyped", *BOTH_TIMES],
    ["diff", "finra_otc_weekly", *BOTH_TIMES, "--columns", "mistyped"],
    ["follow", "mistyped", "--once"],
    ["follow", "mistyped", "--after", "latest"],
    ["follow", "finra_otc_weekly", "--columns", "mistyped", "--once"],
    ["as-of", "mistyped", "--at", "2026-01-01T00:00Z"],
    ["gold", "mistyped", "2026-01-01"],
    ["gold", "finra_symbol_week", "mistyped"],
    ["explain", "mistyped", WEEK, "share_quantity"],
    ["explain", "finra_otc_weekly", f"{WEEK}|A|B|C", "mistyped"],
    ["verify", "--chain", "--table", "mistyped"],
    ["trace", "mistyped"],
    ["trace", "0" * 31 + "1"],
    ["alerts", "cause", "mistyped"],
    ["alerts", "close", "mistyped"],
    ["automation", "on", "mistyped"],
    ["automation", "off", "mistyped"],
    ["pause", "mistyped"],
    ["resume", "mistyped"],
    ["plugins", "show", "mistyped"],
    ["plugins", "disable", "mistyped", "--reason", "x"],
    ["plugins", "enable", "mistyped"],
    ["plugins", "refuse", "mistyped", "--reason", "x"],
    ["plugins", "remove", "mistyped"],
    ["plugins", "revoke", "mistyped"],
    ["plugins", "grant", "mistyped"],
    ["keys", "revoke", "mistyped"],
    ["keys", "rotate", "mistyped"],
    ["domains", "add", "mistyped"],
    ["domains", "remove", "mistyped"],
    ["completion", "mistyped"],
    ["evidence", "export", "--run", "mistyped"],
    ["evidence", "export", "--session", "mistyped"],
    ["evidence", "export", "--partition", "mistyped", "--at", "2026-01-01T00:00Z"],
    ["evidence", "repair", "--dataset", "mistyped"],
    ["artifacts", "get", "mistyped"],
    ["artifacts", "list", "--where", "mistyped=1"],
    ["artifacts", "repair", "--dataset", "mistyped"],
]


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """STATE_DIR of an installation in which no mistyped name changes anything."""
    return tmp_path_factory.mktemp("state")


@pytest.mark.slow_after_first
@pytest.mark.parametrize("arguments", MISTYPED, ids=" ".join)
def test_a_mistyped_name_ends_a_command_by_status_2(
    arguments: list[str], installation, monkeypatch
):
    monkeypatch.setenv("STATE_DIR", str(installation))
    try:
        status = main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
