"""The language of documents: by their beginning, and none where it would be a guess."""

import pytest
from orchestration_demo.documents.corpus import corpus

from orchestration_project.domains.documents.extracted import Page
from orchestration_project.domains.documents.extraction import extract
from orchestration_project.domains.documents.language import CHARACTERS, language_of

TEXTS = {
    "en": "The committee met in the morning and decided that the report should be sent to all the "
    "members before the end of the month, with the figures of last year.",
    "de": "Der Ausschuss trat am Morgen zusammen und beschloss, dass der Bericht vor dem Ende des "
    "Monats an alle Mitglieder verschickt werden sollte, mit den Zahlen des Vorjahres.",
    "es": "El comité se reunió por la mañana y decidió que el informe debía enviarse a todos los "
    "miembros antes de fin de mes, con las cifras del año pasado.",
    "zh": "委员会在上午开会并决定在月底之前把报告和去年的数字一起寄给所有的成员。" * 4,
    "ru": "Комитет собрался утром и решил, что отчет должен быть отправлен всем членам до конца "
    "месяца вместе с данными прошлого года.",  # noqa: RUF001 - Russian
}


@pytest.mark.slow
@pytest.mark.parametrize("language", TEXTS)
def test_the_language_of_a_text_is_found(language: str):
    assert extract(TEXTS[language].encode(), name="a.txt").language == language
    assert language_of([Page(1, ""), Page(2, TEXTS[language])]) == language


@pytest.mark.parametrize("text", ["", "The report", "1 2 3 " * 500, "x-1; " * 500])
def test_too_little_text_has_no_language(text: str):
    assert language_of([Page(1, text)]) is None


def test_the_beginning_decides():
    text = TEXTS["de"] * (CHARACTERS // len(TEXTS["de"]) + 1)
    assert language_of([Page(1, text), Page(2, TEXTS["en"] * 500)]) == "de"


def test_no_document_of_the_corpus_has_another_language_than_its_own():
    found = [
        (expected.language, extract(content, name=expected.path).language)
        for expected, content in corpus(seed=5, count=100)
        if expected.language and not expected.path.endswith("zip")
    ]
    assert [pair for pair in found if pair[1] not in (pair[0], None)] == []
    assert sum(language is not None for _, language in found) >= 0.9 * len(found)
