"""The people and tasks that the demo starts with, odd ones among them."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

Json = dict[str, Any]

FIRST_DAY = datetime(2026, 1, 5, 8, tzinfo=UTC)
MAX_FIELD_LENGTH = 65_536


@dataclass(frozen=True)
class Person:
    """Somebody with an account in both systems, or in one.

    Attributes:
        name: As it is shown.
        email: None where Jira hides it.
        account_id: In Jira; None: no account there.
        is_active: Whether that account may be assigned to.
    """

    name: str
    email: str | None
    account_id: str | None
    is_active: bool = True


PEOPLE = (
    Person("Olena Kovalenko", "olena@example.org", "712020:olena"),
    Person("Anna Berg", "anna@example.org", "712020:anna"),
    Person(
        "Annabel Bergson", "joanna@example.org", "712020:joanna"
    ),  # a search for anna@ finds her
    Person("نورا حداد", "nora@example.org", "712020:nora"),
    Person("Twin One", "twin@example.org", "712020:twin1"),
    Person("Twin Two", "twin@example.org", "712020:twin2"),
    Person("Gone Person", "gone@example.org", "712020:gone", is_active=False),
    Person("Only There", "nobody@example.org", None),
)

SUBJECTS = ("Onboarding", "Hardware", "Payroll", "Offboarding", "Birthday")
THINGS = ("laptop", "contract", "badge 🎫", "account", "חוזה", "introduction", "desk", "tax form")
DESCRIPTIONS = (
    "<p>Please do this <strong>this week</strong>.</p>",
    "<ul><li>one</li><li>two<ul><li>deeper</li></ul></li></ul>",
    "<p>unclosed <b>bold<p>next & <a href='https://example.org/a?b=1&c=2'>link</a>",
    "<script>alert(1)</script><p>שלום 👋🏽</p>",
    "",
    None,
)


def tasks(seed: int, count: int) -> dict[int, Json]:
    """Return the tasks by their ids; the last ones are as odd as they get."""
    chance = random.Random(seed)  # noqa: S311 - synthetic data, to be repeated
    found = {1000 + number: _task(chance, 1000 + number) for number in range(count)}
    odd: list[Json] = [
        {"title": None, "description": None, "assigned_to": None, "associated_to": None},
        {"title": "Onboarding: everything", "description": "x" * MAX_FIELD_LENGTH},
        {"title": "Hardware: " + "long " * 100},
    ]
    for task, changes in zip(reversed(list(found.values())), odd, strict=False):
        task.update(changes)
    return found


def _task(chance: random.Random, number: int) -> Json:
    whose, about = chance.choice(PEOPLE), chance.choice(PEOPLE)
    created_at = FIRST_DAY + timedelta(hours=number - 1000)
    return {
        "id": number,
        "title": f"{chance.choice(SUBJECTS)}: {chance.choice(THINGS)} for {about.name}",
        "description": chance.choice(DESCRIPTIONS),
        "completed": chance.random() < 0.1,
        "created_at": created_at.isoformat().replace("+00:00", "Z"),
        "assigned_to": {"email": whose.email, "full_name": whose.name},
        "associated_to": {"full_name": about.name},
    }
