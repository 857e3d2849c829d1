"""Pages asked for ahead of their turn."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration_project.errors import SourceError
from orchestration_project.resources.saas.prefetch import PAGES_PER_BATCH, PagePrefetcher


@given(in_flight=st.integers(1, 4), last=st.integers(1, 5 * PAGES_PER_BATCH))
def test_each_page_is_asked_for_once_and_given_in_its_turn(in_flight, last):
    requested = []
    with PagePrefetcher(lambda page: requested.append(page) or f"page {page}", in_flight) as ahead:
        given_pages = [ahead.take(page, last) for page in range(1, last + 1)]
    assert given_pages == [f"page {page}" for page in range(1, last + 1)]
    assert Counter(requested) == Counter(range(1, last + 1))


@given(failing=st.integers(1, 3 * PAGES_PER_BATCH), in_flight=st.integers(1, 3))
def test_pages_before_the_one_that_fails_are_given_all_the_same(failing, in_flight):
    def ask(page):
        if page == failing:
            raise SourceError(f"no page {page}")
        return page

    with PagePrefetcher(ask, in_flight) as ahead:
        assert [ahead.take(page, 3 * PAGES_PER_BATCH) for page in range(1, failing)] == [
            *range(1, failing)
        ]
        with pytest.raises(SourceError, match=f"no page {failing}$"):
            ahead.take(failing, 3 * PAGES_PER_BATCH)


def test_a_page_is_requested_again_when_it_is_taken_again():
    requested = []
    with PagePrefetcher(
        lambda page: requested.append(page) or len(requested), in_flight=1
    ) as ahead:
        first = [ahead.take(page, 3) for page in (1, 2)]
        again = [ahead.take(page, 3) for page in (2, 3)]
    assert first == [1, 2]
    assert again == [4, 3]
    assert requested == [1, 2, 3, 2]
