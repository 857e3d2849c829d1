"""The command `alerts`, with real receivers."""

import hashlib
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from orchestration_project.__main__ import main
from orchestration_project.engine.contracts.problems import Problem
from orchestration_project.services.alerts.rules.decisions import AlertDecision
from orchestration_project.services.alerts.rules.messages import Message
from orchestration_project.services.alerts.sending import LastResortLog
from orchestration_project.services.probes import open_alerts
from orchestration_project.settings import load_settings
from orchestration_project.tables.operations_alerts import (
    operations_alert_deliveries,
    operations_alerts,
)
from tests.programs import free_port, from_then_on
from tests.receivers import http_receiver, mail_receiver

ID_OF_A = hashlib.sha256(b"failed a").hexdigest()[:8]
TITLE = "Test: alerts of orchestration_project reach you here"


@pytest.mark.slow
def test_a_test_reaches_every_channel_and_reports_each(partition_loader, monkeypatch, capsys):
    with http_receiver() as hook, mail_receiver() as mailbox:
        monkeypatch.setenv("ALERT_URLS", f"warning={hook.url()},{mailbox.url}")
        assert main(["alerts", "test"]) == 0
        assert capsys.readouterr().out == (
            "json-1 (warning and worse): taken\nmailto-2 (error and worse): taken\n"
        )
        (posted,) = hook.received
        assert (posted["title"], posted["type"]) == (TITLE, "info")
        assert posted["message"].startswith("Nothing failed.")
        (mail,) = mailbox.received
        assert (mail["Subject"], mail["From"], mail["To"]) == (
            TITLE,
            "pipelines@example.org",
            "team@example.org",
        )
        text = mail.get_body(("plain",))
        assert text
        assert text.get_content().startswith("Nothing failed.")


@pytest.mark.slow
def test_a_test_fails_if_a_channel_does_not_take_it_or_there_is_none(
    partition_loader, monkeypatch, capsys
):
    with http_receiver() as hook:
        hook.status = 404
        down = f"json://127.0.0.1:{free_port()}/secret"
        monkeypatch.setenv("ALERT_URLS", f"{hook.url('secret')},{down},nosuch://secret")
        assert main(["alerts", "test"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "json-1 (error and worse): json-1 did not accept an alert: HTTP 404",
        "json-2 (error and worse): json-2 did not accept an alert: no connection, no answer, or a "
        "refusal",
        "nosuch-3 (error and worse): entry 3 of ALERT_URLS cannot be used: a URL that Apprise "
        "cannot use",
    ]
    monkeypatch.delenv("ALERT_URLS")
    assert main(["alerts", "test"]) == 1
    assert capsys.readouterr().out.startswith("ALERT_URLS is not set: alerts go nowhere")


def test_a_malformed_entry_is_an_error_that_names_its_number(partition_loader, monkeypatch, capsys):
    monkeypatch.setenv("ALERT_URLS", "json://h,hunter2")
    assert main(["alerts", "list"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("entry 2 of ALERT_URLS cannot be used")
    assert "hunter2" not in error


def test_the_list_shows_what_is_open_and_what_waits(partition_loader, monkeypatch, capsys):
    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
    assert main(["alerts", "list"]) == 0
    assert capsys.readouterr().out == "no alert is open\n"
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:1,error=json://127.0.0.1:1")
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    assert main(["alerts", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "id        since (UTC)       severity  again  alert                not delivered to",
        f"{ID_OF_A}  2026-03-02 15:00  error     0      it failed at \\udc80  json-1, json-2",
        "waiting to be delivered: 1 to json-1, 1 to json-2",
    ]


@pytest.mark.slow_on_postgresql
def test_an_alert_closed_manually_is_reported_to_its_channels(
    partition_loader, monkeypatch, capsys
):
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        store("a", Problem("held_back", "finra/otc_weekly", "T9|2026-01-05"))
        store("b", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
        deliver()
        assert main(["alerts", "close", ID_OF_A]) == 0
        assert capsys.readouterr().out == "closed: it failed at \\udc80\n"
        deliver()
        assert hook.titles[2:] == ["Recovered: it failed at \\udc80"]
    assert main(["alerts", "list"]) == 0
    listed = capsys.readouterr().out
    assert ID_OF_A not in listed
    assert len(listed.splitlines()) == 2
    assert main(["alerts", "close", ID_OF_A]) == 2
    assert capsys.readouterr().err.startswith(f"no open alert matches '{ID_OF_A}'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["close"], "Missing argument 'ID...'"),
        (["list", "a"], "Got unexpected extra argument (a)"),
        (["list", "--because", "x"], "No such option '--because'"),
        ([], "Usage: orchestrate alerts"),
    ],
)
def test_each_verb_takes_its_own_options_and_ids_are_for_closing(
    partition_loader, arguments, message, capsys
):
    with pytest.raises(SystemExit) as end:
        main(["alerts", *arguments])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow_after_first
@pytest.mark.parametrize("sent", ["before it was sent", "after it was sent"])
def test_a_killed_processs_delivery_is_retried_after_the_lease(partition_loader, monkeypatch, sent):
    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
        alerts = open_alerts(load_settings())
        with alerts.inbox() as inbox:
            waiting = inbox.due("json-1")
            assert inbox.claim(waiting) == waiting
            assert inbox.claim(waiting) == []  # nor can another process
            if sent == "after it was sent":
                alerts.send_to_all(waiting[0].message)
            assert alerts.deliver(inbox) == (0, {})
        monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:06"))
        alerts = open_alerts(load_settings())
        with alerts.inbox() as inbox:
            assert alerts.deliver(inbox) == (1, {})
            assert alerts.deliver(inbox) == (0, {})
        assert len(hook.received) == (2 if sent == "after it was sent" else 1)


def test_channels_that_take_their_time_leave_the_rest_to_the_next_tick(
    partition_loader, monkeypatch
):
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", f"{hook.url('a')},{hook.url('b')}")
        for cause in "abc":
            store(cause, Problem("failed", "finra/otc_weekly", cause))
        monkeypatch.setattr("orchestration_project.services.alerts.alerts.SECONDS_PER_TICK", 0)
        alerts = open_alerts(load_settings())
        with alerts.inbox() as inbox:
            assert [alerts.deliver(inbox)[0] for _ in range(4)] == [2, 2, 2, 0]


def test_what_was_raised_before_the_clock_was_set_back_is_delivered(partition_loader, monkeypatch):
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2027-03-02T15:00"))
        store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
        monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
        deliver()
        assert len(hook.titles) == 1


@pytest.mark.slow_after_first
@pytest.mark.parametrize("tried", ["never", "in vain", "by a killed process"])
def test_a_delivery_waits_for_nothing_that_a_clock_which_was_set_back_wrote(
    partition_loader, monkeypatch, tried
):
    """As that of DEMO_CLOCK_NOW is with each code server that Dagster's daemon starts."""
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:02"))
        store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
        if tried == "in vain":
            hook.status = 500
            deliver()
            hook.status = 200
        elif tried == "by a killed process":
            with open_alerts(load_settings()).inbox() as inbox:
                assert inbox.claim(inbox.due("json-1"))
        monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
        deliver()
        deliver()
        assert len(hook.titles) == 1


def test_a_recovery_is_sent_after_what_a_channel_missed(partition_loader, monkeypatch):
    problem = Problem("failed", "finra/otc_weekly", "T1|2026-01-05")
    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        store("a", problem)
        hook.status = 500
        deliver()
        hook.status = 200
        with open_alerts(load_settings()).inbox() as inbox:
            inbox.recover("b", lambda each: each == problem, "by a later run")
        deliver()
        assert hook.titles == []  # the failure's next attempt is due a minute after the first one
        monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:02"))
        deliver()
        assert [message["type"] for message in hook.received] == ["failure", "success"]


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_flood_is_one_message_and_a_row_for_each(partition_loader, monkeypatch):
    def deliver(time: str = "") -> tuple[int, dict[str, str]]:
        if time:
            monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on(f"2026-03-02T{time}"))
        alerts = open_alerts(load_settings())
        with alerts.inbox() as inbox:
            return alerts.deliver(inbox)

    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        for number in range(30):
            store(str(number), Problem("failed", "finra/otc_weekly", str(number)))
        assert deliver() == (0, {})  # more may come
        hook.status = 500
        assert deliver("15:02") == (0, {"json-1": "json-1 did not accept an alert: HTTP 500"})
        hook.status = 200
        assert deliver("15:10") == (30, {})
        assert deliver("15:11") == (0, {})
        assert hook.titles == ["30 alerts at once: 30 failed"]
    d, a = operations_alert_deliveries.c, operations_alerts.c
    with partition_loader.warehouse.reading() as connection:
        query = select(d.state, d.attempt_count, d.digest_count, d.rule)
        rows = connection.execute(query).all()
        assert len(connection.execute(select(a.alert_id)).all()) == 30
    assert [tuple(row) for row in rows] == [("delivered", 2, 30, "everything")] * 30


RULES = """
rules:
  - {name: ops, match: {domain: [finra, operations], severity: error}, channels: [json-1]}
  - {name: quiet, match: {check: has_no_rejects}, channels: [], stop: true}
  - {name: rest}
"""


def test_a_check_of_the_rules_shows_them_and_the_names_that_the_project_does_not_have(
    partition_loader, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:1")
    assert main(["alerts", "check"]) == 0
    assert capsys.readouterr().out.startswith("everything: all -> each channel by its severity\n")
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    monkeypatch.setenv("ALERT_RULES", str(rules))
    assert main(["alerts", "check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ops: domain finra, operations; severity error -> json-1",
        "quiet: check has_no_rejects -> no channel; then no other rule",
        "rest: all -> each channel by its severity",
        "rule quiet: match.check: the project has no check has_no_rejects",
    ]
    rules.write_text(RULES.replace("json-1", "json-9"))
    assert main(["alerts", "check"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"invalid alert rules in {rules}")
    assert "rule ops: channels: unknown channel json-9, expected one of json-1" in error


def test_a_check_reports_an_unreachable_channel(partition_loader, monkeypatch, capsys):
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:1,nosuch://hunter2")
    assert main(["alerts", "check"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("entry 2 of ALERT_URLS cannot be used")
    assert "hunter2" not in output.err
    assert "valid" not in output.out


@pytest.mark.slow_after_first
@pytest.mark.parametrize("text", ["rules: [", "rules: [{name: x, channels: [unknown]}]", None])
def test_with_unusable_rules_every_channel_is_notified(
    partition_loader, monkeypatch, tmp_path, text
):
    rules = tmp_path / "rules.yaml"
    if text is not None:
        rules.write_text(text)
    monkeypatch.setenv("ALERT_RULES", str(rules))
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
        alerts = open_alerts(load_settings())
        with alerts.inbox() as inbox:
            assert alerts.deliver(inbox) == (1, {})
        assert str(rules) in str(alerts.policy.problem)
        assert len(hook.titles) == 1


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_an_outside_watch_reports_disk_daemon_and_recovery(partition_loader, monkeypatch, capsys):
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        monkeypatch.setenv("DISK_HEADROOM_MIB", str(10**9))
        assert main(["alerts", "watch"]) == 1
        monkeypatch.delenv("DISK_HEADROOM_MIB")
        assert main(["alerts", "watch", "--because", "daemon ended by itself"]) == 1
        output = capsys.readouterr().out
        assert "disk_low: failed: a disk is nearly full" in output
        assert "daemon_silent: failed: Dagster's daemon ended; found daemon ended by" in output
        assert main(["alerts", "watch"]) == 0
        assert hook.titles[:2] == ["A disk is nearly full", "Dagster's daemon ended"]
        assert hook.received[0]["message"].endswith("Runbook: docs/how-to/runbooks/disk-low.md")
        assert sorted(hook.titles[2:]) == [
            "Recovered: A disk is nearly full",
            "Recovered: Dagster's daemon ended",
        ]


@pytest.mark.slow
def test_an_outside_watch_reports_once_if_storing_alerts_fails(
    partition_loader, monkeypatch, capsys, tmp_path
):
    (tmp_path / "file").touch()
    lost = {"DATABASE_SCHEMA": "", "DATABASE_URL": f"sqlite:///{tmp_path}/file/lost.sqlite"}
    with http_receiver() as hook:
        monkeypatch.setenv("ALERT_URLS", hook.url())
        with monkeypatch.context() as meanwhile:
            for name, value in lost.items():
                meanwhile.setenv(name, value)
            main(["alerts", "watch"])
            main(["alerts", "watch"])  # by cron, or by `ui`, again and again
        assert (
            capsys.readouterr().out.count("alerts cannot be stored. Notified channels: json-1.")
            == 2
        )
        main(["alerts", "watch"])
        main(["alerts", "watch"])
        assert hook.titles == [
            "The database cannot be used: nothing loads, and alerts wait",
            "Recovered: the database can be used again",
        ]


def test_what_waits_for_a_channel_that_is_gone_is_given_up(partition_loader, monkeypatch):
    monkeypatch.setenv("DEMO_CLOCK_NOW", from_then_on("2026-03-02T15:00"))
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:1,json://127.0.0.1:1")
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    monkeypatch.setenv("ALERT_URLS", "json://127.0.0.1:1")
    deliver()
    with open_alerts(load_settings()).inbox() as inbox:
        assert inbox.waiting() == {"json-1": 1}


@pytest.mark.slow
@pytest.mark.slow_on_postgresql
def test_a_look_from_outside_gives_nothing_up_whose_channel_is_not_set_there(
    partition_loader, monkeypatch
):
    monkeypatch.setenv("ALERT_URL_OPS", "json://127.0.0.1:1")
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    monkeypatch.delenv("ALERT_URL_OPS")
    main(["alerts", "watch"])  # by cron, which has another environment
    with open_alerts(load_settings()).inbox() as inbox:
        assert inbox.waiting() == {"ops": 1}


def test_what_waits_for_a_channel_whose_entry_is_malformed_waits_on(partition_loader, monkeypatch):
    monkeypatch.setenv("ALERT_URL_OPS", "json://127.0.0.1:1")
    store("a", Problem("failed", "finra/otc_weekly", "T1|2026-01-05"))
    monkeypatch.setenv("ALERT_URL_OPS", "jsn//127.0.0.1:1")
    deliver()
    with open_alerts(load_settings()).inbox() as inbox:
        assert inbox.waiting() == {"ops": 1}


@pytest.mark.slow_on_postgresql
def test_two_who_see_the_same_at_once_raise_one_alert(partition_loader):
    problem = Problem("disk_low", "state")
    is_second_deciding = threading.Event()

    def words(decision: AlertDecision) -> list[Message]:
        message = Message("disk_low", "error", "the disk", "", problems=decision.raised)
        return [message] if decision.raised else []

    def second() -> None:
        def then(decision: AlertDecision) -> list[Message]:
            is_second_deciding.set()
            return words(decision)

        with open_alerts(load_settings()).inbox() as inbox:
            inbox.observe(frozenset([problem]), lambda _: False, then)

    other = threading.Thread(target=second)

    def first(decision: AlertDecision) -> list[Message]:
        other.start()
        is_second_deciding.wait(1)  # who decides alone is not overtaken, however long that takes
        return words(decision)

    with open_alerts(load_settings()).inbox() as inbox:
        inbox.observe(frozenset([problem]), lambda _: False, first)
        other.join()
        assert len(inbox.standing()) == 1


def deliver() -> None:
    """Do what the sensor does."""
    alerts = open_alerts(load_settings())
    with alerts.inbox() as inbox:
        alerts.give_up(inbox)
        alerts.deliver(inbox)


def store(cause: str, problem: Problem) -> None:
    """Store an alert about ``problem``; its title has what PostgreSQL cannot hold."""
    bad = frozenset([problem])

    def words(_: AlertDecision) -> list[Message]:
        return [Message("failed", "error", "it failed \0at \udc80", "why", problems=bad)]

    with open_alerts(load_settings()).inbox() as inbox:
        inbox.take(cause, bad, lambda _: False, words)


def test_an_unwritable_log_of_notified_channels_is_reported(tmp_path, caplog):
    (tmp_path / "file").touch()
    log = LastResortLog(tmp_path / "file" / "alerts_told.json")
    log.keep({"json-1": datetime(2026, 1, 5, tzinfo=UTC)})
    assert "a notification may repeat" in caplog.text
    assert log.read() == {}
