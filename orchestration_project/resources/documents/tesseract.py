"""Tesseract, the program that recognises characters, as a child of a worker process.

The child has the worker's limits and its network, which is none, and a CPU time of its own. It
reads the image from a pipe and writes to one: it opens no file of a document.
"""

import ctypes
import resource
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration_project.domains.documents.recognition import (
    DOTS_PER_INCH,
    Recognised,
    RecognitionError,
    read_tsv,
)

MAX_DETAIL = 200
"""Characters of its last line that are shown."""

PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal for a process when its parent ends."""


@dataclass(frozen=True)
class OcrRule:
    """Program, languages and time for the recognition of images.

    Attributes:
        program: Path of Tesseract.
        languages: Codes of its language data, separated by ``+``, e.g. ``eng+deu``.
        seconds: Wall clock and CPU time for the images of one file.
        missing: Those of the languages that are not installed.
        environment: Names and values of its environment variables.
    """

    program: str
    languages: str
    seconds: float
    missing: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


class Tesseract:
    """Recognises the images of one file, in a time for all of them."""

    def __init__(self, rule: OcrRule) -> None:
        self._rule = rule
        self._until = time.monotonic() + rule.seconds

    def __call__(self, image: bytes) -> Sequence[Recognised]:
        """Return the text of each page of an image file.

        Raises:
            RecognitionError: A language is missing, the time is over, or the image is unreadable.
        """
        if self._rule.missing:
            packages = ", ".join(f"tesseract-ocr-{name}" for name in self._rule.missing)
            raise RecognitionError("ocr_language_missing", f"install {packages.replace('_', '-')}")
        left = self._until - time.monotonic()
        if left <= 0:
            raise _build_timeout_error(self._rule.seconds)
        try:
            ended = subprocess.run(  # noqa: S603 - our own program and languages
                [self._rule.program, "stdin", "stdout", *self._arguments],
                input=image,
                capture_output=True,
                env=dict(self._rule.environment),
                timeout=left,
                check=False,
                preexec_fn=_Limit(left).apply,
            )
        except subprocess.TimeoutExpired as error:
            raise _build_timeout_error(self._rule.seconds) from error
        except OSError as error:
            raise RecognitionError("ocr_failed", f"not started: {error.strerror}") from error
        if ended.returncode == -signal.SIGXCPU:
            raise _build_timeout_error(self._rule.seconds)
        if ended.returncode:
            raise RecognitionError("ocr_failed", _read_last_line(ended.stderr, ended.returncode))
        return read_tsv(ended.stdout.decode("utf-8", "replace"))

    @property
    def _arguments(self) -> Sequence[str]:
        return ("-l", self._rule.languages, "--dpi", str(DOTS_PER_INCH), "tsv")


class _Limit:
    """The limits of the child, set between its start and its program."""

    def __init__(self, seconds: float) -> None:
        self._seconds = max(1, round(seconds))
        self._libc = ctypes.CDLL(None)

    def apply(self) -> None:
        self._libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        is_lower = hard != resource.RLIM_INFINITY and hard < self._seconds
        resource.setrlimit(resource.RLIMIT_CPU, (hard if is_lower else self._seconds, hard))


def _build_timeout_error(seconds: float) -> RecognitionError:
    return RecognitionError("ocr_timed_out", f"limit {seconds:g} s")


def _read_last_line(output: bytes, status: int) -> str:
    lines = output.decode("utf-8", "replace").split("\n")
    text = next((line for line in reversed(lines) if line.strip()), f"status {status}")
    return text[:MAX_DETAIL]
