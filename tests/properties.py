"""How properties are tried: the same examples each time, and no limit on a busy machine's time."""

from hypothesis import settings

bounded = settings(derandomize=True, deadline=None, max_examples=60)
