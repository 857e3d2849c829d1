"""How much memory unfinished bodies may take, in all and of each sender."""

from contextlib import ExitStack

from orchestration_project.engine.contracts.webhooks.admission import BodyBudget


def held(budget: BodyBudget, bodies: list[tuple[str, str, int]]) -> list[bool]:
    """Return for each unfinished body, of source, address and length, whether there is room."""
    with ExitStack() as stack:
        begun = [(stack.enter_context(budget.body(*of)), size) for *of, size in bodies]
        return [body.add(size) for body, size in begun]


def test_one_address_has_an_eighth_of_the_budget():
    found = held(BodyBudget(80, 1), [("a", "1", 6), ("b", "1", 4), ("c", "1", 1), ("a", "2", 10)])
    assert found == [True, True, False, True]


def test_one_source_has_a_quarter_of_the_budget():
    found = held(BodyBudget(80, 1), [("a", "1", 10), ("a", "2", 10), ("a", "3", 1), ("b", "3", 9)])
    assert found == [True, True, False, True]


def test_all_bodies_together_stay_within_the_budget():
    bodies = [(str(n // 2), str(n), 10) for n in range(9)]
    assert held(BodyBudget(80, 1), bodies) == [True] * 8 + [False]


def test_a_share_holds_one_body_of_any_allowed_length():
    assert held(BodyBudget(80, 30), [("a", "1", 30), ("b", "1", 1)]) == [True, False]


def test_a_body_that_ended_frees_its_room():
    budget = BodyBudget(80, 1)
    for _ in range(3):
        assert held(budget, [("a", "1", 10)]) == [True]


def test_bytes_count_as_they_arrive():
    budget = BodyBudget(80, 1)
    with budget.body("a", "1") as first, budget.body("a", "1") as second:
        assert [first.add(5), second.add(5), first.add(1)] == [True, True, False]
        assert first.byte_count == 6
