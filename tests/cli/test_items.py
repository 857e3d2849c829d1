"""The `items` command: which items there are, and why some of them failed."""

import pytest

from orchestration_project.__main__ import main
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.work_items import ItemSettlement, NewItem
from orchestration_project.engine.environment import open_warehouse
from orchestration_project.engine.work_items import WorkItems
from orchestration_project.errors import ContractError
from tests.commands import run_without_failure


@pytest.fixture
def items(demo_settings):
    """Three items of a topic, of which the first one is dead, and one of another."""
    with open_warehouse(demo_settings) as warehouse:
        items = WorkItems(warehouse, Clock())
        items.enqueue("documents/a", [NewItem(letter, "1") for letter in "xyz"])
        items.enqueue("documents/b", [NewItem("w", "1")])
        claims = items.claim("documents/a", limit=1, run_id="run", until=Clock().now())
        error = ContractError("page 3\x1b[2J is encrypted", remedy="send it again")
        with warehouse.writing() as connection:
            items.settle(connection, [ItemSettlement.of_error(claim, error) for claim in claims])


def listed(capsys, *options: str) -> list[str]:
    run_without_failure("items", "list", *options)
    return capsys.readouterr().out.splitlines()


def test_items_are_listed_with_attempts_and_the_reason_of_a_failure(items, capsys):
    first, *others = listed(capsys)
    assert first == (
        "documents/a  x  dead  1 of 3 attempts  contract: page 3 [2J is encrypted; "
        "what to do: send it again"
    )
    assert others == [
        "documents/a  y  ready  0 of 3 attempts",
        "documents/a  z  ready  0 of 3 attempts",
        "documents/b  w  ready  0 of 3 attempts",
    ]


def test_items_are_chosen_by_topic_and_state_and_what_is_left_out_is_said(items, capsys):
    ready = listed(capsys, "--topic", "documents/a", "--state", "ready")
    assert [line.split("  ")[1] for line in ready] == ["y", "z"]
    assert main(["items", "list", "--limit", "3"]) == 0
    output = capsys.readouterr()
    assert len(output.out.splitlines()) == 3
    assert output.err == "there are more than 3: raise --limit\n"
    for wrong in (["--state", "unknown"], ["--limit", "-1"]):
        with pytest.raises(SystemExit):
            main(["items", "list", *wrong])


@pytest.mark.usefixtures("items")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--topic", "documents/c"], "no work items with --topic documents/c"),
        (["--topic", "documents/b", "--state", "dead"], "with --topic documents/b --state dead"),
    ],
)
def test_a_list_without_items_names_the_conditions(capsys, options, said):
    assert main(["items", "list", *options]) == 0
    listed = capsys.readouterr()
    assert listed.out == ""
    assert said in listed.err


def test_a_new_database_has_no_items(demo_settings, capsys):
    assert main(["items", "list"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "no work items"
