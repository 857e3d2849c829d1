"""The verdict of a run: the share of its documents that reached each stage, weighted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "watch", "bad"]

WEIGHTS = {"extracted": 25, "normalized": 20, "chunked": 20, "similarity": 20, "exported": 15}
"""Weight of each stage; those of stages that a project does not have are spread over the rest."""

WORDS = {"similarity": "compared"}
"""Stages in sentences, where their names are not."""

GOOD_FROM, WATCH_FROM = 85, 70
"""Scores, of 100."""

CRITICAL_REASONS = frozenset({"archive_overlap", "archive_ratio", "unsafe_path", "xml_entities"})
"""Reasons of files that were made to harm a reader."""


@dataclass(frozen=True)
class Verdict:
    """Verdict of a run.

    Attributes:
        level: good from 85 on, watch from 70 on, else bad; bad with a critical reason.
        score: Weighted share of the documents that reached each stage, 0-100.
        reasons: Why it is not good, as sentences.
    """

    level: Level
    score: float
    reasons: tuple[str, ...]


def judge(
    document_count: int,
    reached: Mapping[str, int],
    reason_counts: Mapping[str, int],
    overdue_exports: Sequence[str] = (),
) -> Verdict:
    """Return the verdict on documents, one at least.

    Args:
        document_count: Delivered documents of the run.
        reached: How many of them reached each stage that is configured, by its name in `WEIGHTS`.
        reason_counts: How many have each decisive reason code.
        overdue_exports: Exports whose delays are among the reasons.
    """
    stages = [stage for stage in WEIGHTS if stage in reached]
    total = sum(WEIGHTS[stage] for stage in stages)
    shares = {stage: reached[stage] / document_count for stage in stages}
    score = sum(100 * WEIGHTS[stage] / total * share for stage, share in shares.items())
    critical = sorted(CRITICAL_REASONS & {code for code, count in reason_counts.items() if count})
    reasons = [f"{reason_counts[code]} with the critical reason {code}" for code in critical]
    if score < GOOD_FROM:
        reasons += [
            f"{document_count - reached[stage]} of {document_count} not {WORDS.get(stage, stage)}"
            for stage in stages
            if shares[stage] < 1
        ]
    reasons += [f"the export {name} is overdue" for name in overdue_exports]
    return Verdict(_choose_level(score, is_critical=bool(critical)), score, tuple(reasons))


def _choose_level(score: float, *, is_critical: bool) -> Level:
    if is_critical or score < WATCH_FROM:
        return "bad"
    return "good" if score >= GOOD_FROM else "watch"


def is_failure(level: Level, fail_on: Literal["never", "bad", "watch"]) -> bool:
    """Return whether a run with this verdict fails; ``watch``: with any that is not good."""
    return level == "bad" if fail_on == "bad" else fail_on == "watch" and level != "good"
