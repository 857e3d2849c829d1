"""Decisions of ticks: known answers, limits, runs under way and cursors, without Dagster."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.domains.documents.ticks import DueDays, describe_poll, plan_arrivals
from orchestration_project.domains.events.routing import plan_actions
from orchestration_project.domains.finra.selection import TierWeek
from orchestration_project.domains.finra.ticks import (
    PublishedWeeks,
    ReadWeeks,
    Sweep,
    plan_chart,
    plan_latest_weeks,
    plan_outdated_weeks,
    plan_publication,
    plan_restatement,
    plan_runs,
)
from orchestration_project.domains.mqtt.ticks import MessageJob, WaitingMessages, plan_messages
from orchestration_project.domains.prices.ticks import (
    WaitingSymbol,
    WantedSymbols,
    find_reason_not_to_load,
    list_months_before,
    plan_derivation,
    plan_evening,
    plan_new_symbols,
    plan_waiting,
)
from orchestration_project.domains.saas.ticks import Tick, plan_poll
from orchestration_project.domains.web.sites import find_reason_not_to_crawl
from orchestration_project.engine.contracts.derivations import RecomputationRequest, plan_run
from orchestration_project.engine.contracts.derivations import plan_derivations as plan_ranges
from orchestration_project.engine.contracts.partitioning import Calendar, Partition, Partitioning
from orchestration_project.engine.contracts.ticks import (
    REQUESTED,
    ListedPartitions,
    PlannedRun,
    ReadVersions,
    TickPlan,
    balance_tick,
    choose_runs,
    combine_plans,
    plan_backfill,
    plan_partition,
    plan_tick,
)
from orchestration_project.engine.contracts.webhooks.queue import DispatchPlan
from orchestration_project.sensors.plans import (
    DueExports,
    Followed,
    OutdatedTable,
    list_exports,
    plan_deliveries,
    plan_exports,
    plan_own_derivation,
    plan_scheduled,
    plan_state_checks,
    read_followed,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = NOON.date()
MONDAY = date(2026, 1, 5)
DAYS = Partitioning(
    table_name="crates", calendar=Calendar(weekday=None, delay_days=1), day_column="day"
)


def keys(plan: TickPlan) -> list[str | None]:
    return [run.partition_key for run in plan.requests]


def tags(plan: TickPlan) -> list[tuple[str, ...]]:
    return [tuple(run.tags.values()) for run in plan.requests]


# -- partitions of a declared dataset


def partitions(days, loaded=(), horizon=400, reread_count=2) -> ListedPartitions:
    listed = {day.isoformat(): Partition(day) for day in days}
    return ListedPartitions(
        table_name="crates",
        partitioning=DAYS,
        listed=listed,
        existing=list(listed),
        loaded={key: {"v1"} for key in loaded},
        horizon=TODAY - timedelta(days=horizon),
        reread_count=reread_count,
    )


def plan_crates(listed, versions=None, running=(), known_keys=(), limit=10) -> TickPlan:
    read = ReadVersions(versions or {}, {})
    runs = listed.build_runs(read.versions, running, TODAY)
    return plan_tick(listed, read, running, runs, known_keys=known_keys, limit=limit)


FIRST, SECOND, THIRD = (MONDAY + timedelta(days=count) for count in range(3))


def test_changed_partitions_come_first_then_missing_ones_newest_first():
    listed = partitions([FIRST, SECOND, THIRD], loaded=["2026-01-05"])
    plan = plan_crates(listed, {"2026-01-05": "v2"})
    assert keys(plan) == ["2026-01-05", "2026-01-07", "2026-01-06"]
    assert plan.requests[0].run_key == "crates 2026-01-05 v2 (2026-03-02)"
    assert plan.requests[1].run_key == "crates 2026-01-07 first (2026-03-02)"
    assert plan.message == "Requested 2026-01-05, 2026-01-07, 2026-01-06."


def test_nothing_is_requested_where_all_is_loaded_and_unchanged():
    plan = plan_crates(partitions([FIRST], loaded=["2026-01-05"]), {"2026-01-05": "v1"})
    assert plan.requests == ()
    assert plan.skip_reason == (
        "Nothing to request: 1 partitions are listed, and of those in the horizon 0 were never "
        "taken; of the latest 1 that were, 0 changed."
    )
    assert plan.places["unchanged"] == ["2026-01-05"]


dates = st.lists(st.integers(0, 60), unique=True, max_size=30).map(
    lambda counts: sorted(MONDAY - timedelta(days=count) for count in counts)
)


@given(st.data(), dates, st.integers(0, 5), st.integers(30, 90))
def test_a_tick_places_each_partition_once_and_requests_none_that_runs(data, days, limit, horizon):
    every = [day.isoformat() for day in days]
    some = st.sets(st.sampled_from(every)) if every else st.just(set())
    loaded, running, unreadable = data.draw(some), data.draw(some), data.draw(some)
    listed = partitions(days, sorted(loaded), horizon)
    read_again = [DAYS.key_of(partition) for partition in listed.missing_and_recent[1]]
    read = ReadVersions(
        {key: data.draw(st.sampled_from(["v1", "v2"])) for key in set(read_again) - unreadable},
        dict.fromkeys(unreadable & set(read_again), "closed"),
    )
    runs = listed.build_runs(read.versions, running, TODAY)
    run_keys = [str(run.run_key) for run in runs]
    known_keys = data.draw(st.sets(st.sampled_from(run_keys))) if run_keys else set()
    plan = plan_tick(listed, read, running, runs, known_keys=known_keys, limit=limit)
    assert len(plan.requests) <= limit
    assert not set(keys(plan)) & running
    assert not {run.run_key for run in plan.requests} & known_keys
    assert balance_tick(every, plan.places).difference == 0
    assert bool(plan.requests) != bool(plan.skip_reason)


def test_a_backfill_loads_listed_partitions_that_were_never_loaded():
    plan = plan_backfill(["a", "b", "c", "a"], existing=["b", "c"], loaded=["c"])
    assert plan.places == {REQUESTED: ["b"], "loaded": ["c"], "no_partition": ["a"]}
    assert (plan.message, plan.skip_reason) == ("1 partitions, from b to b.", "")
    assert plan_backfill(["c"], ["c"], ["c"]).skip_reason == (
        "Nothing to do: all 1 listed partitions are loaded."
    )


@given(st.lists(st.text(max_size=3)), st.sets(st.text(max_size=3)), st.integers(0, 5))
def test_chosen_runs_keep_their_order_and_their_limit(names, known_keys, limit):
    runs = [PlannedRun(run_key=name, partition_key=name) for name in names]
    chosen = choose_runs(runs, known_keys, limit)
    assert len(chosen.requested) <= limit
    assert sorted(
        map(str, [*chosen.requested, *chosen.waiting, *chosen.requested_today])
    ) == sorted(map(str, runs))
    assert [*chosen.requested, *chosen.waiting] == [
        run for run in runs if run.run_key not in known_keys
    ]


def test_plans_of_one_tick_are_combined_and_reasons_stand_where_none_requests():
    run = PlannedRun(run_key="a")
    assert combine_plans([TickPlan(skip_reason="No."), TickPlan(requests=[run])]).requests == [run]
    assert combine_plans([TickPlan(skip_reason="No."), TickPlan(skip_reason="Nor.")]) == TickPlan(
        requests=[], skip_reason="No. Nor."
    )


def test_a_partition_is_requested_unless_a_reason_is_against_it():
    assert keys(plan_partition("2026-01-05", "")) == ["2026-01-05"]
    assert plan_partition("2026-01-05", "It is off.") == TickPlan(skip_reason="It is off.")


# -- ranges that are derived


def test_ranges_that_were_requested_today_are_not_requested_again():
    requests = [RecomputationRequest("a", "b", "1"), RecomputationRequest("d", "d", "2")]
    runs = [plan_run(request, "gold") for request in requests]
    plan = plan_ranges(["a", "b", "d"], runs, ["1"])
    assert tags(plan) == [("d", "d")]
    assert plan.places == {REQUESTED: ["d"], "asked_today": ["a", "b"]}
    assert plan.message == "Requested d to d."
    again = plan_ranges(["a", "b", "d"], runs, ["1", "2"], left_out=" One is left out.")
    assert again.skip_reason == (
        "Not derived, and requested today: a to b, d to d; a run that brings nothing is requested "
        "again the day after. One is left out."
    )


def test_nothing_is_derived_while_a_run_is_under_way_or_all_is_current():
    run = plan_run(RecomputationRequest("a", "b", "1"), "gold")
    assert (run.job_name, tags(TickPlan(requests=[run]))) == ("gold", [("a", "b")])
    running, sentences = "The run 7 of gold is under way.", {"current": "all is current."}
    assert plan_ranges(["a", "b"], [run], [], running=running, **sentences) == TickPlan(
        skip_reason=running
    )
    idle = plan_ranges([], [], [], running=running, **sentences, left_out=" One is left out.")
    assert idle == TickPlan(skip_reason="Nothing to do: all is current. One is left out.")
    [due] = plan_ranges(["a", "b"], [run], [], **sentences).requests
    assert due.run_key == "1"


# -- FINRA's weeks


def published(weeks, loaded=()) -> PublishedWeeks:
    return PublishedWeeks(
        listed=weeks,
        unknown=["T9"],
        loaded=set(loaded),
        partitions={week.key for week in weeks},
        today=TODAY,
        horizon=52,
    )


WEEKS = [TierWeek("T1", MONDAY + timedelta(weeks=count)) for count in range(4)]
KEYS = [week.key for week in WEEKS]


def test_missing_weeks_are_requested_with_what_waits_and_what_is_refused():
    weeks = published(WEEKS, KEYS[:1])
    new = plan_runs(WEEKS[1:2], {KEYS[1]: "v1"}, TODAY)
    read = ReadWeeks(new=new, rest=WEEKS[3:], refusals=[KEYS[2]])
    plan = plan_publication(weeks, frozenset(), read, None)
    assert keys(plan) == [KEYS[1]]
    assert plan.cursor is None
    assert plan.message == (
        "Requested T1 2026-01-12 (1 week). 1 more wait for the next tick. Left out, as tiers that "
        "are not documented: T9. FINRA says nothing of T1|2026-01-19."
    )
    assert balance_tick(weeks.keys, plan.places).difference == 0


def test_the_cursor_moves_once_all_missing_weeks_were_requested_in_vain():
    weeks = published(WEEKS[:2])
    assert weeks.find_unread(frozenset(), None) == WEEKS[:2]
    read = ReadWeeks(requested_today=plan_runs(WEEKS[:2], dict.fromkeys(KEYS, "v1"), TODAY))
    plan = plan_publication(weeks, frozenset(), read, None)
    assert plan.cursor == weeks.digest(WEEKS[:2])
    assert weeks.find_unread(frozenset(), plan.cursor) == []
    again = plan_publication(weeks, frozenset(), ReadWeeks(), plan.cursor)
    assert (again.requests, again.cursor, again.places) == ((), None, {})
    assert again.skip_reason == plan.skip_reason


def test_the_cursor_stays_while_finra_refuses_a_week():
    plan = plan_publication(published(WEEKS[:1]), [], ReadWeeks(refusals=[KEYS[0]]), None)
    assert plan.cursor is None
    assert plan.skip_reason.startswith("Nothing can be requested. FINRA says nothing of")


def test_weeks_that_a_run_loads_are_not_read():
    weeks = published(WEEKS[:2])
    assert weeks.find_unread(WEEKS[:1], None) == [WEEKS[1]]
    plan = plan_publication(weeks, WEEKS[:2], ReadWeeks(), None)
    assert "were taken or are being loaded (T1 2026-01-05 to 2026-01-12 (2 weeks))" in (
        plan.skip_reason
    )


def test_a_backfill_of_weeks_takes_missing_and_restated_ones():
    plan = plan_outdated_weeks(published(WEEKS, KEYS[:3]), WEEKS[2:], [KEYS[1]])
    assert plan.places[REQUESTED] == KEYS[2:]
    assert plan.places["loaded"] == {KEYS[0]}
    assert plan.places["refused"] == [KEYS[1]]
    assert not plan.skip_reason


def sweep(versions, refusals=()) -> Sweep:
    return Sweep(
        loaded={key: {"v1"} for key in KEYS},
        week_count=len(WEEKS),
        suspects=WEEKS,
        versions=versions,
        refusals=refusals,
        since=MONDAY,
        today=TODAY,
        next_cursor="2026-03-02 of one",
    )


@given(
    st.lists(st.sampled_from(["v1", "v2"]), min_size=4, max_size=4),
    st.sets(st.sampled_from(WEEKS)),
    st.sets(st.sampled_from(KEYS)),
    st.integers(0, 4),
)
def test_the_cursor_of_a_sweep_moves_when_no_change_is_left(versions, running, known, limit):
    swept = sweep(dict(zip(KEYS, versions, strict=True)))
    loading = running & set(swept.changed)
    runs = swept.build_runs(loading)
    known_keys = {str(run.run_key) for run in runs if run.partition_key in known}
    plan = plan_restatement(swept, loading, known_keys, limit)
    assert (plan.cursor is not None) == ("v2" not in versions)
    assert len(plan.requests) <= limit
    assert not set(keys(plan)) & {week.key for week in loading}
    if plan.places:
        assert balance_tick(KEYS, plan.places).difference == 0


def test_a_refused_week_keeps_the_cursor_of_a_sweep():
    plan = plan_restatement(sweep(dict.fromkeys(KEYS[1:], "v1"), [KEYS[0]]), [], [], 4)
    assert plan.cursor is None
    assert plan.skip_reason.endswith("FINRA says nothing of T1|2026-01-05.")


def test_a_sweep_waits_for_the_first_loaded_week():
    empty = replace(sweep({}), loaded={}, week_count=0, suspects=[])
    assert plan_restatement(empty, [], [], 4) == TickPlan(
        skip_reason="Nothing to do: no week was taken yet."
    )


def test_latest_and_restated_weeks_are_derived_as_ranges():
    weeks = [(MONDAY + timedelta(weeks=count)).isoformat() for count in range(6)]
    plan = plan_latest_weeks(weeks, weeks[:1], 2)
    assert tags(plan) == [("2026-01-05", "2026-01-05"), ("2026-02-02", "2026-02-09")]
    assert plan_latest_weeks([], [], 2).skip_reason == (
        "Nothing to do: no week has all tiers loaded."
    )


CHART = PlannedRun(run_key="v1 (2026-03-02)")


def test_a_chart_is_drawn_once_a_day():
    assert plan_chart(CHART, "v1", None, running="", known_keys=[]).requests == [CHART]
    known_keys = ["v1 (2026-03-02)"]
    assert plan_chart(CHART, "v1", None, running="", known_keys=known_keys).requests == ()


@pytest.mark.parametrize(
    ("version", "drawn", "running", "reason"),
    [
        (None, None, "It runs.", "Nothing to draw: no week is loaded."),
        ("v1", "v1", "It runs.", "Nothing to do: the picture shows the present gold (v1)."),
        ("v1", "v0", "It runs.", "It runs."),
        ("v1", "v0", "", ""),
    ],
    ids=["empty", "drawn", "running", "due"],
)
def test_a_chart_is_drawn_of_another_version_while_no_run_draws_it(version, drawn, running, reason):
    plan = plan_chart(CHART, version, drawn, running=running, known_keys=[])
    assert plan.skip_reason == reason
    assert [*plan.requests] == ([] if reason else [CHART])


# -- prices


def test_prices_wait_for_the_end_of_a_session():
    assert "does not trade" in find_reason_not_to_load(date(2026, 3, 1), NOON)
    assert find_reason_not_to_load(TODAY, NOON).startswith("Too early")
    assert find_reason_not_to_load(TODAY, NOON + timedelta(hours=12)) == ""


EVENING = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
FEBRUARY = date(2026, 2, 1)


def test_an_evening_takes_the_month_before_along():
    plan = plan_evening(EVENING, [])
    assert (keys(plan), plan.requests[0].run_key) == (["2026-03-01"], "prices_daily 2026-03-02")
    plan = plan_evening(EVENING, [FEBRUARY])
    assert tags(plan) == [("2026-02-01", "2026-03-01")]
    assert plan.requests[0].run_key == "prices_daily 2026-03-02"


def test_no_evening_begins_before_a_session_is_over():
    assert plan_evening(NOON, [FEBRUARY]) == TickPlan(
        skip_reason="Too early: the session of 2026-03-02 closes at 2026-03-02 16:00:00-05:00."
    )
    sunday = EVENING - timedelta(days=1)
    assert plan_evening(sunday, []) == TickPlan(
        skip_reason="Nothing to do: the exchange does not trade on 2026-03-01."
    )


@pytest.mark.parametrize(
    ("now", "oldest", "partitions", "months"),
    [
        (EVENING, FEBRUARY, ["2026-02-01"], [FEBRUARY]),
        (EVENING, date(2025, 1, 1), ["2026-02-01"], [FEBRUARY]),
        (EVENING, None, ["2026-02-01"], []),
        (EVENING, date(2026, 3, 1), ["2026-02-01"], []),
        (EVENING, FEBRUARY, ["2026-03-01"], []),
        (NOON, FEBRUARY, ["2026-02-01"], []),
    ],
    ids=["oldest", "older", "none_loaded", "newer", "no_partition", "too_early"],
)
def test_the_month_before_is_compared_where_prices_of_it_were_requested(
    now, oldest, partitions, months
):
    assert list_months_before(now, oldest, partitions) == months


def test_one_run_spans_the_months_of_all_waiting_symbols():
    waiting = [
        WaitingSymbol("A", date(2026, 1, 1), date(2026, 1, 1), NOON),
        WaitingSymbol("B", date(2025, 11, 1), date(2026, 2, 1), NOON - timedelta(days=1)),
    ]
    plan = plan_waiting([*waiting, waiting[0]._replace(symbol="C")], ["A", "B"])
    assert tags(plan) == [("2025-11-01", "2026-02-01")]
    key = "prices_waiting 2026-03-02T12:00:00+00:00 2025-11-01 2026-02-01 2"
    assert plan.requests[0].run_key == key
    for due, wanted_now in (([], ["A"]), (waiting, [])):
        assert plan_waiting(due, wanted_now).skip_reason == (
            "Nothing to do: no symbol waits for a time that has come."
        )


def wanted(loaded=(), refused=()) -> WantedSymbols:
    return WantedSymbols(
        wanted=["A", "B", "C"],
        loaded=loaded,
        refused_until=dict.fromkeys(refused, NOON),
        oldest=date(2026, 1, 1),
        months=["2026-01-01", "2026-02-01"],
        today=TODAY,
    )


def test_new_symbols_are_requested_without_refused_ones():
    plan = plan_new_symbols(wanted(loaded=["A"], refused=["B"]), [])
    assert plan.places == {REQUESTED: ["C"], "refused": ["B"], "loaded": ["A"]}
    assert tags(plan) == [("2026-01-01", "2026-02-01")]
    assert plan_new_symbols(wanted(loaded="ABC"), []).requests == ()
    assert "from 2026-03-02 12:00" in plan_new_symbols(wanted(refused="ABC"), []).skip_reason


def test_no_symbol_is_new_before_the_oldest_month_of_all():
    plan = plan_new_symbols(replace(wanted(), oldest=None, months=[]), [])
    assert plan == TickPlan(
        skip_reason="Nothing to do: no price was ever requested; launch prices_backfill."
    )
    later = replace(wanted(), months=[])
    assert later.build_runs() == []
    assert plan_new_symbols(later, []) == TickPlan(
        skip_reason="Nothing to do: 2026-01-01, the oldest month of all, is yet to come."
    )


def test_a_derivation_of_prices_waits_for_the_run_under_way():
    assert plan_derivation({"A": NOON}, "A run is under way.", TODAY).requests == ()
    plan = plan_derivation({"A": NOON}, "", TODAY)
    assert plan.requests[0].run_key == "prices_gold 2026-03-02T12:00:00+00:00 1 (2026-03-02)"


# -- documents, messages, actions, polls, sites


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)), st.integers(0, 4))
def test_days_with_files_are_requested_unless_they_run(due, running, limit):
    every = [f"2026-01-0{number}" for number in range(1, 10)]
    days = DueDays(
        due={f"2026-01-0{number}": (3, NOON) for number in sorted(due)},
        partitions=set(every),
        running={f"2026-01-0{number}" for number in running},
    )
    runs = days.build_runs()
    plan = plan_arrivals(days, runs, [], limit=limit, polled="2 stable")
    assert len(plan.requests) <= limit
    assert not set(keys(plan)) & set(days.running)
    assert balance_tick(days.due, plan.places).difference == 0
    assert all(one < two for one, two in pairwise(map(str, keys(plan))))


def test_a_poll_of_documents_names_states_and_unreadable_folders():
    assert describe_poll({"stable": 2, "seen": 1}, ["a"]) == (
        "1 seen, 2 stable; folders that cannot be read: 1"
    )
    assert describe_poll({}, []) == "no files"


def test_messages_and_dead_letters_have_a_run_each_and_one_at_a_time():
    mirror, replay = MessageJob(name="mirror"), MessageJob(name="replay", run_config={"ops": {}})
    busy = MessageJob(name="mirror", running="The run 1 is under way.")
    waiting = WaitingMessages(
        newest_at=NOON - timedelta(hours=2), is_partition=True, has_dead_letters=True, now=NOON
    )
    plan = plan_messages(waiting, mirror, replay)
    assert [(run.job_name, run.partition_key) for run in plan.requests] == [
        ("mirror", "2026-03-02-10:00"),
        ("replay", None),
    ]
    assert [run.job_name for run in plan_messages(waiting, busy, replay).requests] == ["replay"]
    empty = WaitingMessages(newest_at=None, is_partition=False, has_dead_letters=False, now=NOON)
    assert plan_messages(empty, busy, replay).skip_reason == "The run 1 is under way."
    assert plan_messages(empty, mirror, replay).skip_reason == "No message waits."


def test_the_job_of_actions_is_requested_unless_it_runs():
    run = PlannedRun(run_key="a", job_name="papers")
    plan = plan_actions([run], "apply", is_due=True, is_apply_due=True, running="")
    assert [request.job_name for request in plan.requests] == ["papers", "apply"]
    busy = plan_actions([], "apply", is_due=True, is_apply_due=True, running="It runs.")
    assert busy.skip_reason == "The runs that take what is due are under way."
    idle = plan_actions([], "apply", is_due=False, is_apply_due=False, running="It runs.")
    assert idle == TickPlan(skip_reason="No routed action is due.")


def test_a_poll_of_two_systems_waits_for_the_one_before():
    tick = Tick("pair", timedelta(minutes=5))
    assert plan_poll(tick, "pair#1", [], {}).requests[0].run_key == "pair#1"
    assert "run 7" in plan_poll(tick, "pair#1", ["7"], {}).skip_reason
    assert plan_poll(tick, None, [], {}).skip_reason == (
        "The latest look began never; one begins every 0:05:00."
    )


def test_a_site_is_crawled_within_its_partitions_while_its_flag_holds():
    assert find_reason_not_to_crawl("2026-01-05", is_partition=True, why_off="") == ""
    assert find_reason_not_to_crawl("2026-01-05", is_partition=False, why_off="off") == (
        "Nothing to do: 2026-01-05 is before the first partition."
    )
    assert find_reason_not_to_crawl("2026-01-05", is_partition=True, why_off="off") == (
        "Nothing to do: off."
    )


# -- the platform


def test_the_cursor_of_an_own_table_stays_while_a_run_is_under_way():
    table = OutdatedTable(name="crates", state="1 7 2026-03-02", today=TODAY, due={"a": "x"})
    run = table.build_run()
    assert plan_own_derivation(table, None, "It runs.", []).cursor is None
    assert plan_own_derivation(table, None, "", []).requests == [run]
    assert plan_own_derivation(table, None, "", [str(run.run_key)]).requests == ()
    for known_keys in ([], [str(run.run_key)]):
        assert plan_own_derivation(table, None, "", known_keys).cursor == table.state


def test_an_own_table_is_compared_once_for_each_state_of_its_inputs():
    table = OutdatedTable(name="crates", state="1 7 2026-03-02", today=TODAY, due={})
    current = plan_own_derivation(table, "1 6 2026-03-02", "", [])
    assert (current.skip_reason, current.cursor) == (
        "Nothing to do: crates is current.",
        "1 7 2026-03-02",
    )
    assert plan_own_derivation(table, current.cursor, "", []) == TickPlan(
        skip_reason="Nothing to do: no load since crates was compared with its inputs."
    )


def test_retried_exports_share_a_run_and_scheduled_ones_have_their_own():
    exports = DueExports(declared_count=3, scheduled={"a": NOON}, retried=["a", "b", "c"])
    assert list_exports(exports) == [
        ("a at 2026-03-02T12:00:00+00:00", ["a"]),
        (None, ["b", "c"]),
    ]
    plan = plan_exports(exports, [], NOON)
    assert (plan.skip_reason, plan.cursor) == ("None of 3 exports is due.", NOON.isoformat())
    none = plan_exports(DueExports(declared_count=0, scheduled={}), [], NOON)
    assert none == TickPlan(skip_reason="No export is declared.")


def test_reasons_of_the_platform_name_what_became_of_earlier_runs():
    dispatch = DispatchPlan(under_way_count=1, ended_run_count=2, dead_count=1, waits=[NOON])
    assert plan_deliveries([], dispatch).skip_reason == (
        "No delivery is due; 1 are under way; 1 wait after a failed run, the first until 12:00:00 "
        "UTC; 2 runs ended, 1 deliveries of them are dead letters."
    )
    assert plan_scheduled([], 2, {"nightly": "no job"}, " No alert.").skip_reason == (
        "No schedule is due; 2 due times were skipped. Disabled nightly: no job. No alert."
    )
    run = PlannedRun(run_key="loaded")
    new, checked = Followed(), Followed(checked_since="loaded")
    for after, has_all_runs in ((new, False), (checked, True), (checked, False)):
        idle = plan_state_checks(run, after, has_all_runs=has_all_runs, shown=[], recorded="None.")
        assert (idle.requests, idle.skip_reason) == ((), "None. Shown: nothing changed.")
        assert read_followed(idle.cursor) == after
    due = plan_state_checks(run, new, has_all_runs=True, shown=[], recorded="")
    assert (due.requests, due.skip_reason) == ([run], "")
    assert read_followed(due.cursor) == checked
    assert read_followed("of a former release") == new
