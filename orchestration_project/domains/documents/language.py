"""The language of a text, by a model that comes with its library and is loaded once per process."""

from collections.abc import Callable, Iterable
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Protocol

CHARACTERS = 10_000
"""Characters at the start of a document by which its language is decided."""

MIN_LETTERS = 100
"""Letters that a text has at least, about 20 words; with fewer the model guesses."""

MIN_CONFIDENCE = 0.9
CODE_LETTERS = 2
"""Letters of a code of ISO 639-1; the model has languages without one, too."""

_loaded: list[Any] = []


class HasText(Protocol):
    """A page."""

    @property
    def text(self) -> str:
        """Its text."""
        ...


def language_of(pages: Iterable[HasText]) -> str | None:
    """Return the language of a document, ISO 639-1; None: too little text, or none is likely.

    The same text gives the same language on every machine.

    Args:
        pages: In order.
    """
    text = _take_beginning(pages)
    if sum(map(str.isalpha, text)) < MIN_LETTERS:
        return None
    language, confidence = identifier().classify(text)
    return language if confidence >= MIN_CONFIDENCE else None


def _take_beginning(pages: Iterable[HasText]) -> str:
    parts, left = list[str](), CHARACTERS
    for page in pages:
        parts.append(page.text[:left])
        left -= len(parts[-1])
        if left <= 0:
            break
    return "\n".join(parts)


def identifier(read_unpacked: Callable[[], tuple[Any, ...] | None] = lambda: None) -> Any:
    """Return the model, which the first call loads.

    Args:
        read_unpacked: Returns what the library's `load_model` does; None: the library decompresses
            its own file, which takes more memory than the model has.
    """
    if not _loaded:
        _loaded.append(_build_model(read_unpacked()))
    return _loaded[0]


def _build_model(unpacked: tuple[Any, ...] | None) -> Any:
    from py3langid import modelio
    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    # a worker may write no file, not even a temporary one
    modelio.__dict__["tempfile"] = SimpleNamespace(TemporaryFile=lambda **_: BytesIO())
    arrays: Any = unpacked or modelio.load_model(MODEL_DIR / MODEL_FILE)
    table, priors, labels, moves, rows, features = arrays
    kept = [index for index, label in enumerate(labels) if len(label) == CODE_LETTERS]
    return LanguageIdentifier(
        table.take(kept, axis=1),
        priors.take(kept),
        [labels[index] for index in kept],
        moves,
        features,
        norm_probs=True,
        tk_row=rows,
    )
