"""The text of a synthetic document in any format: sections, a table and asides of known words.

A known word occurs once in one document of a corpus, so a search for it has one right answer.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from random import Random

VOCABULARY = {
    "en": "the report shows that our office moved more goods this week than in the month before "
    "and no one had to wait for a delivery while the new machine was tested by two people",
    "de": "der Bericht zeigt dass unser Büro diese Woche mehr Güter bewegt hat als im Monat davor "
    "und niemand musste auf eine Lieferung warten während die neue Maschine geprüft wurde größer",
    "es": "el informe muestra que nuestra oficina movió más bienes esta semana que en el mes "
    "anterior y nadie tuvo que esperar una entrega mientras la máquina nueva se probó mañana",
}
"""Words that sentences are made of, by language."""

SYLLABLES = "ba ce di fo gu ha je ki lo mu na pe ri so tu va we xi yo zu".split()  # noqa: SIM905 - to read
CELLS = ("item", "amount", "day")
PARAGRAPHS, SENTENCE_WORDS = 4, 14
FIRST_DAY = date(2024, 1, 1)

ASIDES = ("header", "footer", "footnote", "comment", "text_box", "inserted", "notes")
"""Places outside of the body, each with a known word of its own where a format has it."""


class Words:
    """Known words: each is given once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._given = set[str]()

    def next(self) -> str:
        """Return a word that was not given before."""
        while True:
            word = "q" + "".join(self._random.choice(SYLLABLES) for _ in range(5))
            if word not in self._given:
                self._given.add(word)
                return word


@dataclass(frozen=True)
class Section:
    """A heading and its paragraphs."""

    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True)
class Story:
    """The text of a document.

    Attributes:
        language: ``en``, ``de`` or ``es``.
        title: Also its first heading.
        author: In the properties.
        created_at: The same, in UTC, whole seconds.
        sections: The body.
        rows: A table: its heading, then texts, amounts and days.
        asides: Text of a place outside of the body, by `ASIDES`.
        deleted: A word that a tracked deletion removed: no reader may return it.
        words: Known words of title, body and table, in their order.
    """

    language: str
    title: str
    author: str
    created_at: datetime
    sections: tuple[Section, ...]
    rows: tuple[tuple[str | float | date, ...], ...]
    asides: dict[str, str]
    deleted: str
    words: tuple[str, ...]
    aside_words: dict[str, str] = field(default_factory=dict)

    def known(self, *asides: str) -> tuple[str, ...]:
        """Return the known words of the body, and of these places."""
        return (*self.words, *(self.aside_words[each] for each in asides))

    @property
    def cells(self) -> list[list[str]]:
        """The table as text: days in ISO 8601, whole amounts without a fraction."""
        return [[cell_text(value) for value in row] for row in self.rows]


def cell_text(value: str | float | date) -> str:
    """Return a cell as a person writes it."""
    if isinstance(value, date):
        return value.isoformat()
    return value if isinstance(value, str) else f"{value:.12g}"


def make_story(random: Random, words: Words, *, sections: int = 2, rows: int = 4) -> Story:
    """Return a story.

    Args:
        random: Decides all of it.
        words: Where its known words come from.
        sections: Number of its sections, each of `PARAGRAPHS` paragraphs.
        rows: Rows of its table below the heading.
    """
    language = random.choice(sorted(VOCABULARY))
    vocabulary = VOCABULARY[language].split()
    known = list[str]()

    def sentence() -> str:
        known.append(words.next())
        found = [random.choice(vocabulary) for _ in range(SENTENCE_WORDS)]
        found.insert(random.randrange(SENTENCE_WORDS), known[-1])
        return f"{' '.join(found)}.".capitalize() if found[0] != known[-1] else " ".join(found)

    def named(kind: str) -> str:
        known.append(words.next())
        return f"{kind} {known[-1]}"

    title = named("Synthetic report")
    body = tuple(
        Section(named("Chapter"), tuple(sentence() for _ in range(PARAGRAPHS)))
        for _ in range(sections)
    )
    table = [
        (named("part"), float(random.randrange(100, 99_999)) / 4, FIRST_DAY + timedelta(days=n))
        for n in range(rows)
    ]
    aside_words = {each: words.next() for each in ASIDES}
    return Story(
        language,
        title,
        f"Author {random.choice(vocabulary)}",
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=random.randrange(20_000_000)),
        body,
        (CELLS, *table),
        {each: f"The {each.replace('_', ' ')} {word}" for each, word in aside_words.items()},
        words.next(),
        tuple(known),
        aside_words,
    )


def near_duplicate(story: Story, random: Random, words: Words) -> Story:
    """Return a story in which one paragraph of the first section is another one."""
    first, *more = story.sections
    place = random.randrange(len(first.paragraphs))
    replaced, known = first.paragraphs[place], words.next()
    old = next(word for word in story.words if word in replaced.lower())
    paragraphs = list(first.paragraphs)
    paragraphs[place] = f"Another paragraph {known}."
    changed = replace(first, paragraphs=tuple(paragraphs))
    kept = tuple(known if word == old else word for word in story.words)
    return replace(story, sections=(changed, *more), words=kept)
