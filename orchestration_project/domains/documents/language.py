"""The language of a text, by a model that comes with its library and is loaded once per process."""

from collections.abc import Iterable
from functools import lru_cache
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


@lru_cache(maxsize=1)
def identifier() -> Any:
    """Return the model; its loading takes more memory than it has then."""
    from py3langid import modelio
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    # a worker may write no file, not even a temporary one
    modelio.__dict__["tempfile"] = SimpleNamespace(TemporaryFile=lambda **_: BytesIO())
    model: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    model.set_languages([label for label in model.labels if len(label) == CODE_LETTERS])
    return model
