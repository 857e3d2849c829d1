"""Topic filters of MQTT: which topics a filter with the wildcards + and # selects.

The rules are those of MQTT 5.0, section 4.7; MQTT 3.1.1 has the same.
"""

from dataclasses import dataclass

SEPARATOR, ONE_LEVEL, ALL_LEVELS = "/", "+", "#"
MAX_TOPIC_BYTES = 65_535

EVENTS = "tracker/events"
"""Topic above those of events of entities."""

EXPECTED = "expected a topic filter, e.g. tracker/events/+/42 or tracker/#"


@dataclass(frozen=True)
class TopicFilter:
    """A valid topic filter; `read_topic_filter` makes one.

    Attributes:
        levels: Its levels, of which each may be empty.
    """

    levels: tuple[str, ...]

    @property
    def text(self) -> str:
        """The filter as it is written."""
        return SEPARATOR.join(self.levels)

    @property
    def is_exact(self) -> bool:
        """Whether it selects one topic: that with its own text."""
        return ONE_LEVEL not in self.levels and self.levels[-1] != ALL_LEVELS

    @property
    def prefix(self) -> str:
        """Text that each selected topic begins with; it may be empty.

        Topics that begin with it are more than the selected ones: `matches` decides.
        """
        for index, level in enumerate(self.levels):
            if level == ALL_LEVELS:  # it selects the level above, too, which has no separator
                return SEPARATOR.join(self.levels[:index])
            if level == ONE_LEVEL:
                return "".join(f"{name}{SEPARATOR}" for name in self.levels[:index])
        return self.text

    def matches(self, topic: str) -> bool:
        """Whether it selects ``topic``.

        Topics that begin with $ are those of the broker: no wildcard at the first level selects
        them.
        """
        levels = topic.split(SEPARATOR)
        if topic.startswith("$") and self.levels[0] in (ONE_LEVEL, ALL_LEVELS):
            return False
        for index, text in enumerate(self.levels):
            if text == ALL_LEVELS:
                return True
            if index == len(levels) or text not in (ONE_LEVEL, levels[index]):
                # "a/#" selects "a", too: only its # is left when the topic ends
                return False
            if index + 1 == len(levels):
                return self.levels[index + 1 :] in ((), (ALL_LEVELS,))
        return False


def read_topic_filter(text: str) -> TopicFilter:
    """Read a topic filter.

    Raises:
        ValueError: It is invalid: empty, too long, with NUL, or with a wildcard that is not a whole
            level, or with # before the last level.
    """
    if not text or "\0" in text or len(text.encode(errors="replace")) > MAX_TOPIC_BYTES:
        raise ValueError(
            f"invalid topic filter: {EXPECTED}, 1 to {MAX_TOPIC_BYTES} bytes without NUL"
        )
    levels = tuple(text.split(SEPARATOR))
    for index, level in enumerate(levels):
        if len(level) > 1 and (ONE_LEVEL in level or ALL_LEVELS in level):
            raise ValueError(
                f"invalid topic filter {text[:100]!r}: {EXPECTED}, a wildcard is a level"
            )
        if level == ALL_LEVELS and index + 1 != len(levels):
            raise ValueError(
                f"invalid topic filter {text[:100]!r}: {EXPECTED}, # is the last level"
            )
    return TopicFilter(levels)


def event_topic(level: str, entity_id: str) -> str:
    """Return the topic of an entity's events, such as tracker/events/projects/42.

    Characters of the ID that mean something in a topic are escaped as in a URL.
    """
    for character in ("%", SEPARATOR, ONE_LEVEL, ALL_LEVELS):
        entity_id = entity_id.replace(character, f"%{ord(character):02X}")
    return f"{EVENTS}/{level}/{entity_id}"
