"""Artifacts that may be cleaned up, against a model that says it the slow way."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration_project.services.cleanup.rules import (
    File,
    find_removable_blobs,
    find_removable_files,
)
from tests.properties import bounded

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = {
    "capture_id": pl.Int64,
    "sha256": pl.String,
    "group_id": pl.String,
    "fetched_at": pl.Datetime("us", "UTC"),
}

times = st.integers(0, 5).map(lambda days: START + timedelta(days=days))
few = st.integers(1, 3)
captures = st.lists(
    st.tuples(
        st.sampled_from("opqrstuv"),
        st.sampled_from("ab"),
        st.integers(8, 12),  # two figures come after one
        times,
    ),
    min_size=1,
    max_size=12,
)


def place_of(group: str) -> int:
    return int(group.split("#")[1])


@pytest.mark.slow
@settings(bounded, max_examples=300)
@given(st.data(), captures, st.integers(1, 6).map(lambda days: START + timedelta(days=days)), few)
def test_no_blob_goes_that_a_current_row_a_newest_delivery_or_a_late_fetch_leads_to(
    data, drawn, before, keep_newest
):
    rows = [
        (number, sha256, f"t:T1|{week}#{place}", at)
        for number, (sha256, week, place, at) in enumerate(drawn)
    ]
    all_groups = sorted({row[2] for row in rows})
    whole = data.draw(st.sets(st.sampled_from(all_groups)))
    current = data.draw(st.sets(st.sampled_from(range(len(rows))), max_size=3))

    stays = {sha256 for _, sha256, _, at in rows if at >= before}
    for series in ("t:T1|a", "t:T1|b"):
        own = sorted((group for group in all_groups if group.startswith(series)), key=place_of)
        kept = {*own[-keep_newest:], *[name for name in own if name in whole][-keep_newest:]}
        kept |= {group for number, _, group, _ in rows if number in current}
        stays |= {sha256 for _, sha256, group, _ in rows if group in kept}

    found = find_removable_blobs(
        pl.DataFrame(rows, SCHEMA, orient="row"),
        layers=(),
        whole=whole,
        current=current,
        before=before,
        keep_newest=keep_newest,
    )
    assert found == {row[1] for row in rows} - stays


def test_the_newest_delivery_that_was_read_whole_stays_behind_later_ones_that_were_not():
    rows = [(number, f"blob {number}", f"t:T1|a#{number}", START) for number in (1, 2, 3, 4)]
    found = find_removable_blobs(
        pl.DataFrame(rows, SCHEMA, orient="row"),
        layers=(),
        whole={"t:T1|a#1", "t:T1|a#2"},
        current=set(),
        before=START + timedelta(days=9),
        keep_newest=1,
    )
    assert found == {"blob 1", "blob 3"}


def test_a_capture_whose_delivery_has_no_name_of_ours_stays():
    row = (1, "p", "somebody's", START)
    found = find_removable_blobs(
        pl.DataFrame([row], SCHEMA, orient="row"),
        layers=(),
        whole=set(),
        current=set(),
        before=START + timedelta(days=9),
        keep_newest=1,
    )
    assert found == set()


def test_a_dataset_with_a_time_of_its_own_keeps_what_is_current_or_new():
    schema = {**SCHEMA, "source": pl.String(), "dataset": pl.String()}
    rows = [
        (1, "old", "web_pages:shop#1", START, "web", "shop"),
        (2, "current", "web_pages:shop#1", START, "web", "shop"),
        (3, "new", "web_pages:shop#2", START + timedelta(days=5), "web", "shop"),
        (4, "shared", "web_pages:shop#1", START, "web", "shop"),
        (5, "shared", "t:a#1", START, "web", "other"),
        (6, "other", "t:a#1", START, "web", "other"),
    ]
    found = find_removable_blobs(
        pl.DataFrame(rows, schema, orient="row"),
        layers={"web_pages:shop#1"},
        whole=set(),
        current={2},
        before=None,
        keep_newest=1,
        of_datasets={("web", "shop"): START + timedelta(days=3)},
    )
    assert found == {"old"}


files = st.lists(
    st.builds(
        File,
        st.builds(
            "{}/{}.{}".format, st.sampled_from("ab"), st.integers(0, 9), st.sampled_from("xy")
        ),
        st.just(1),
        times,
    ),
    unique_by=lambda file: file.name,
)


@settings(bounded, max_examples=100)
@given(files, times, st.integers(1, 3))
def test_of_each_folder_and_ending_the_newest_files_stay_and_all_that_are_young(
    given_files, before, keep_newest
):
    going = find_removable_files(given_files, before=before, keep_newest=keep_newest)
    assert all(file.put_at < before for file in going)
    for folder in "ab":
        for ending in "xy":
            own = [
                file
                for file in given_files
                if file.name.startswith(folder) and file.name.endswith(ending)
            ]
            stays = [file for file in own if file not in going]
            gone = [file for file in own if file in going]
            assert len(stays) >= min(keep_newest, len(own))
            assert all(old.put_at <= new.put_at for old in gone for new in stays)
            old_ones = [file for file in own if file.put_at < before]
            assert len(gone) == max(0, min(len(old_ones), len(own) - keep_newest))
