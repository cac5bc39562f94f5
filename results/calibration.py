"""Calibration: whether a judge is right as often as its own scores say."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from armbench.errors import DataError
from armbench.trajectory import Judgement

_ROUNDING = 0.01
"""How far probabilities may add up beside 1, since judges write them with few digits."""


@dataclass(frozen=True)
class Bin:
    """Verdicts of similar confidence, for a reliability diagram.

    Attributes:
        low: Lower edge of confidence; the first bin holds it, others do not.
        high: Upper edge, part of the bin.
        count: Verdicts; never 0.
        confidence: Their mean confidence.
        accuracy: Share of right ones.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def confidence(judgement: Judgement) -> float | None:
    """Probability that the judge gives its own verdict; None if it gave no probabilities.

    Only scores that are probabilities count: for a choice one per answer, adding up to 1; for
    right or wrong the one that the answer is right. Ratings are not turned into any.
    """
    verdict, scores = judgement.verdict, judgement.scores
    if verdict is None or scores is None or not all(0 <= score <= 1 for score in scores):
        return None
    if isinstance(verdict, bool):
        right = scores[0] if len(scores) == 1 else None
        return right if verdict or right is None else 1 - right
    if isinstance(verdict, float) or not 1 <= verdict <= len(scores):
        return None
    return scores[verdict - 1] if abs(math.fsum(scores) - 1) <= _ROUNDING else None


def reliability_bins(
    confidences: Sequence[float], correct: Sequence[bool], *, bins: int = 10
) -> list[Bin]:
    """Verdicts in bins of equal width over 0 to 1; empty bins are left out.

    Args:
        confidences: Probability of being right that the judge claims, by verdict, 0 to 1.
        correct: Whether it was.
        bins: How many bins.

    Raises:
        DataError: If a confidence is no probability.
    """
    _check(confidences)
    members: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for claimed, right in zip(confidences, correct, strict=True):
        # 1 - 0.7 is a little more than 0.3 in binary.
        place = max(0, math.ceil(round(claimed * bins, 9)) - 1)
        members[place].append((claimed, right))
    return [
        Bin(
            low=place / bins,
            high=(place + 1) / bins,
            count=len(part),
            confidence=math.fsum(claimed for claimed, _ in part) / len(part),
            accuracy=sum(right for _, right in part) / len(part),
        )
        for place, part in sorted(members.items())
    ]


def expected_calibration_error(
    confidences: Sequence[float], correct: Sequence[bool], *, bins: int = 10
) -> float | None:
    """Mean gap between confidence and accuracy over the bins of `reliability_bins`.

    Each bin weighs as many verdicts as it holds (Naeini, Cooper & Hauskrecht 2015, AAAI;
    Guo, Pleiss, Sun & Weinberger 2017, ICML, section 2). It grows with the number of bins and
    shrinks with that of verdicts: compare it at equal numbers only.

    Args:
        confidences: Probability of being right that the judge claims, by verdict, 0 to 1.
        correct: Whether it was.
        bins: How many bins.

    Returns:
        0 (calibrated) to 1; None of nothing.

    Raises:
        DataError: If a confidence is no probability.
    """
    found = reliability_bins(confidences, correct, bins=bins)
    if not found:
        return None
    return math.fsum(b.count * abs(b.confidence - b.accuracy) for b in found) / len(confidences)


def brier_score(confidences: Sequence[float], correct: Sequence[bool]) -> float | None:
    """Mean squared gap between confidence and outcome.

    Brier (1950, Monthly Weather Review 78:1-3) adds this up over both outcomes, which gives
    twice as much; this is the form in use today.

    Args:
        confidences: Probability of being right that the judge claims, by verdict, 0 to 1.
        correct: Whether it was.

    Returns:
        0 (sure and right) to 1; 0.25 for a judge that always says 0.5; None of nothing.

    Raises:
        DataError: If a confidence is no probability.
    """
    _check(confidences)
    if not confidences:
        return None
    gaps = ((p - right) ** 2 for p, right in zip(confidences, correct, strict=True))
    return math.fsum(gaps) / len(confidences)


def _check(confidences: Sequence[float]) -> None:
    for value in confidences:
        if not 0 <= value <= 1:
            raise DataError(f"a confidence has to be a probability from 0 to 1, not {value}")
