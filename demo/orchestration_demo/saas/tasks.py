"""PeopleForce's tasks: what there is, and what happens to them."""

import copy
from collections.abc import Callable, Mapping

from orchestration_demo.saas.people import Json

PAGE_TASKS = 50

OnChange = Callable[[str, Json], None]
"""Takes what happened (`task_create` …) and the task as it is then."""


class Tasks:
    """All tasks; ``on_change`` is called with every change."""

    def __init__(self, tasks: dict[int, Json], on_change: OnChange) -> None:
        self._tasks = tasks
        self._on_change = on_change
        self.completions = 0  # how often one was completed from outside

    def page(self, number: int, completed: bool | None) -> tuple[list[Json], int]:
        """Return a page of the tasks, the newest first, and how many there are on all pages."""
        found = [
            task
            for _, task in sorted(self._tasks.items(), reverse=True)
            if completed is None or task["completed"] is completed
        ]
        start = (number - 1) * PAGE_TASKS
        return copy.deepcopy(found[start : start + PAGE_TASKS]), len(found)

    def get(self, number: int) -> Json | None:
        """Return a task."""
        return copy.deepcopy(self._tasks.get(number))

    def complete(self, number: int) -> Json | None:
        """Complete a task, once; None: it does not exist."""
        task = self._tasks.get(number)
        if task is None:
            return None
        self.completions += 1
        if not task["completed"]:
            task["completed"] = True
            self._on_change("task_complete", copy.deepcopy(task))
        return copy.deepcopy(task)

    def put(self, changes: Mapping[str, object]) -> Json:
        """Make a task, or change the one with this id, as a person would."""
        number = changes.get("id")
        if not isinstance(number, int):
            number = max(self._tasks, default=999) + 1
        known = self._tasks.get(number)
        names = ("title", "description", "created_at", "assigned_to", "associated_to")
        blank: Json = dict.fromkeys(names)
        task = {"completed": False, **blank, **(known or {}), **changes, "id": number}
        self._tasks[number] = task
        self._on_change("task_update" if known else "task_create", copy.deepcopy(task))
        return copy.deepcopy(task)

    def delete(self, number: int) -> bool:
        """Delete a task; return whether there was one."""
        task = self._tasks.pop(number, None)
        if task is not None:
            self._on_change("task_delete", task)
        return task is not None

    def all(self) -> list[Json]:
        """Return every task, by id."""
        return [copy.deepcopy(task) for _, task in sorted(self._tasks.items())]
