"""Comparison of two records, and of what breaks with the changelog."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from tools.contracts.record import Members, Record

COMMAND = "python -m tools.contracts --write"

READ = ("API answers", "tables", "metrics")
"""Sections of what others read: another form breaks them. What others give may have more forms."""

RESULT = "(result)"
"""Name of a member that others read in a section of what they give."""

SPACED = ("API operations", "commands")
"""Sections whose members are named after their owner and a space; in others, after a dot."""

REQUIRED = "required"
REMOVED, CHANGED, UNRELEASED = "Removed", "Changed", "Unreleased"
"""Headings of the changelog: items of the first two in the third allow a break."""

ADDED, DEPRECATED = "Added", "Deprecated"
"""Headings that allow a removal: of the unreleased part, and of a release."""

RELEASE = re.compile(r"\d+\.\d+\.\d+ - \d{4}-\d{2}-\d{2}")
"""Title of a release."""

OTHER_PARTS = re.compile(r"Unreleased|\d+\.\d+\.\d+, not tagged yet|Drafts before \d+\.\d+\.\d+")
"""Titles of what no user has as a release."""


@dataclass(frozen=True)
class Break:
    """A name that is gone or changed incompatibly.

    Attributes:
        name: As the changelog has it in backticks, such as ``orchestrate run --weeks``.
        problem: What happened to it.
        heading: Heading of the changelog that it belongs under.
    """

    section: str
    name: str
    problem: str
    heading: str

    def describe(self) -> str:
        """Return the problem with its remedies."""
        if self.heading == DEPRECATED:
            return (
                f"{self.section}: {self.name} {self.problem}; restore it until a minor release "
                f'lists "- `{self.name}`: …" in {DEPRECATED} of CHANGELOG.md'
            )
        return (
            f'{self.section}: {self.name} {self.problem}; restore it, or add "- `{self.name}`: …" '
            f"to {self.heading} of {UNRELEASED} in CHANGELOG.md and run `{COMMAND}`"
        )


def compare(recorded: Record, present: Record) -> Iterator[Break]:
    """Yield what breaks programs that were written for the recorded names."""
    for section, owners in recorded.items():
        present_owners = present.get(section, {})
        for owner, members in owners.items():
            if owner in present_owners:
                yield from compare_members(section, owner, members, present_owners[owner])
            else:
                yield Break(section, owner, "is gone", REMOVED)


def compare_members(
    section: str, owner: str, recorded: Members, present: Members
) -> Iterator[Break]:
    """Yield the members that break those who use the owner."""
    separator = " " if section in SPACED else "."
    for name, forms in recorded.items():
        full_name = f"{owner}{separator}{name}"
        if name not in present:
            yield Break(section, full_name, "is gone", REMOVED)
            continue
        is_read = section in READ or name == RESULT
        lost, gained = difference(forms, present[name], is_read=is_read)
        if lost or gained:
            parts = [f"lost {', '.join(lost)}" if lost else ""]
            parts += [f"became {', '.join(gained)}" if gained else ""]
            yield Break(section, full_name, " and ".join(filter(None, parts)), CHANGED)
    if section not in READ:
        for name in present.keys() - recorded.keys():
            if REQUIRED in present[name].split(" | "):
                full_name = f"{owner}{separator}{name}"
                yield Break(section, full_name, "is new and required", CHANGED)


def difference(
    recorded: str, present: str, *, is_read: bool
) -> tuple[Collection[str], Collection[str]]:
    """Return the forms that were lost and gained, as far as they break a user."""
    old, new = recorded.split(" | "), present.split(" | ")
    lost = [form for form in old if form not in new and form != REQUIRED]
    gained = [form for form in new if form not in old]
    if is_read:
        return (lost if gained else [], gained)
    return lost, [form for form in gained if form == REQUIRED]


def named_changes(changelog: str) -> Collection[tuple[str, str]]:
    """Return heading and name of what the unreleased part names.

    An item names it in backticks before its first colon, such as "- `orchestrate run --weeks`: …".
    """
    title, body = split_parts(changelog)[0]
    return named_items(body) if title == UNRELEASED else set()


def split_parts(changelog: str) -> Sequence[tuple[str, str]]:
    """Return title and text of each part of a changelog, the newest first."""
    parts = [part.partition("\n") for part in re.split(r"(?m)^## ", changelog)[1:]]
    return [(title.strip(), body) for title, _, body in parts]


def named_items(body: str) -> Collection[tuple[str, str]]:
    """Return heading and name of each item of a part that names something."""
    named: set[tuple[str, str]] = set()
    for part in re.split(r"(?m)^### ", body):
        heading, _, items = part.partition("\n")
        for item in re.split(r"(?m)^- ", items):
            head = re.split(r":\s", item, maxsplit=1)[0] if re.search(r":\s", item) else ""
            names = re.findall(r"`([^`]+)`", head)
            named |= {(heading.strip(), re.sub(r"\s+", " ", name)) for name in names}
    return named


def unnamed_breaks(recorded: Record, present: Record, changelog: str) -> Sequence[Break]:
    """Return the breaks that the unreleased part of the changelog does not name."""
    named = named_changes(changelog)
    return [
        found for found in compare(recorded, present) if (found.heading, found.name) not in named
    ]


def undeprecated_removals(recorded: Record, present: Record, changelog: str) -> Sequence[Break]:
    """Return the removals of released names that no release listed as deprecated.

    Without a release there are none. A name that the unreleased part itself adds may be removed.

    Raises:
        ValueError: A title of the changelog is neither a release nor one of `OTHER_PARTS`.
    """
    parts = split_parts(changelog)
    released = [body for title, body in parts if RELEASE.fullmatch(title)]
    for title, _ in parts:
        if not (RELEASE.fullmatch(title) or OTHER_PARTS.fullmatch(title)):
            expected = "such as 0.1.0 - 2027-01-15, or 0.1.0, not tagged yet"
            raise ValueError(
                f"invalid title in CHANGELOG.md: expected one {expected}, found {title}"
            )
    if not released:
        return []
    named = {item for body in released for item in named_items(body)}
    deprecated = {name for heading, name in named if heading == DEPRECATED}
    new = {name for heading, name in named_changes(changelog) if heading == ADDED}
    return [
        replace(found, problem="is gone without a deprecation", heading=DEPRECATED)
        for found in compare(recorded, present)
        if found.heading == REMOVED and found.name not in deprecated | new
    ]
