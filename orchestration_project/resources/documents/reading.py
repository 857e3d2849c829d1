"""Means of readers by the settings: passwords, and Tesseract where it is installed."""

import subprocess
from contextlib import suppress
from shutil import which

from orchestration_project.domains.documents.chunks import ChunkRule
from orchestration_project.errors import ConfigurationError
from orchestration_project.resources.documents.setups import ReaderSetup
from orchestration_project.resources.documents.tesseract import OcrRule
from orchestration_project.resources.documents.worker import ReaderSettings
from orchestration_project.settings.domains.documents import DocumentsSettings, OcrMode
from orchestration_project.settings.given import ENVIRONMENT

PROGRAM = "tesseract"
LIST_SECONDS = 20

PASSED_ON = ("PATH", "TESSDATA_PREFIX")
"""Environment variables that the program gets; no others, as some hold secrets."""


def reader_settings(
    settings: DocumentsSettings, mode: OcrMode, chunk_rule: ChunkRule | None = None
) -> ReaderSettings:
    """Return what readers may use.

    Args:
        settings: Passwords, languages and time for recognition.
        mode: Whether images are recognised.
        chunk_rule: How pages are cut; None: not at all.

    Raises:
        ConfigurationError: As `ocr_rule`.
    """
    ocr = ocr_rule(mode, settings.documents_ocr_languages, settings.documents_ocr_seconds)
    return ReaderSettings(settings.passwords, ocr, chunk_rule)


def setups_of(settings: DocumentsSettings) -> tuple[ReaderSetup, ...]:
    """Return the setups of readers, by which it is known when one has changed."""
    mode: OcrMode = "never" if settings.documents_ocr == "never" else "auto"
    ocr = ocr_rule(mode, settings.documents_ocr_languages, settings.documents_ocr_seconds)
    installed = set(ocr.languages.split("+")) - set(ocr.missing) if ocr else ()
    return (
        ReaderSetup(
            "passwords",
            "\n".join(sorted(settings.passwords)),
            ("encrypted",),
            ("member_encrypted",),
        ),
        ReaderSetup(
            "ocr",
            "+".join(sorted(installed)),
            ("needs_ocr", "ocr_language_missing"),
            ("pages_need_ocr",),
        ),
    )


def ocr_rule(mode: OcrMode, languages: str, seconds: float) -> OcrRule | None:
    """Return how images are recognised; None: not at all.

    Args:
        mode: ``never``; ``auto``: where Tesseract is installed; ``always``.
        languages: Codes of its language data, separated by ``+``.
        seconds: Time for the images of one file.

    Raises:
        ConfigurationError: It is ``always``, and Tesseract is not installed.
    """
    program = None if mode == "never" else which(PROGRAM)
    if program is None:
        if mode == "always":
            raise ConfigurationError(
                "images cannot be recognised: Tesseract is not installed",
                expected=f"the program {PROGRAM}, as DOCUMENTS_OCR, or the run, is always",
                remedy="install it, e.g. by apt-get install tesseract-ocr; or set DOCUMENTS_OCR "
                "to auto or never",
            )
        return None
    environment = {name: ENVIRONMENT[name] for name in PASSED_ON if name in ENVIRONMENT}
    environment |= {"LC_ALL": "C.UTF-8", "OMP_THREAD_LIMIT": "1"}
    installed = installed_languages(program, environment)
    missing = tuple(each for each in languages.split("+") if each not in installed)
    return OcrRule(program, languages, seconds, missing, tuple(environment.items()))


def installed_languages(program: str, environment: dict[str, str]) -> frozenset[str]:
    """Return the codes of the language data that Tesseract finds; none if it cannot be run."""
    with suppress(OSError, subprocess.TimeoutExpired):
        listed = subprocess.run(  # noqa: S603 - found by its name in PATH
            [program, "--list-langs"],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=LIST_SECONDS,
            check=False,
        )
        return frozenset(listed.stdout.split("\n")[1:]) - {""}
    return frozenset()
