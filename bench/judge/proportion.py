"""How much a share of so many requests says: Wilson's interval, and how many certify a share."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""Two-sided 95 % of the normal law."""
CONFIDENCE = 0.99


def wilson(part: int, whole: int) -> tuple[float, float] | None:
    """95 % interval of a share (Wilson 1927); None for a share of nothing. Holds at 0 and 1 too,
    where the naive interval has no width."""
    if whole == 0:
        return None
    share, square = part / whole, Z95 * Z95
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    half = Z95 * math.sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    half /= 1 + square / whole
    low = 0.0 if part == 0 else max(0.0, middle - half)
    return low, (1.0 if part == whole else min(1.0, middle + half))


def few_misses(requests: int, misses: int, share: float) -> float:
    """Probability of at most so many misses where each request is met with probability `share`."""
    if misses >= requests:
        return 1.0
    logs = [_log_term(requests, k, share) for k in range(misses + 1)]
    top = max(logs)
    return min(1.0, math.exp(top) * math.fsum(math.exp(log - top) for log in logs))


def _log_term(n: int, k: int, share: float) -> float:
    choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return choose + k * math.log1p(-share) + (n - k) * math.log(share)


def certifies(requests: int, misses: int, share: float, confidence: float = CONFIDENCE) -> bool:
    """Whether the exact (Clopper and Pearson 1934) lower bound of the met share reaches `share`."""
    return few_misses(requests, misses, share) <= 1 - confidence


def requests_to_certify(misses: int, share: float, confidence: float = CONFIDENCE) -> int:
    """The fewest requests, so many of them missed, that certify the share; 459 for none and 0.99.

    Counted as MLPerf's server scenario does: as if requests were independent, which a queue's are
    only from afar.
    """
    enough = misses + 1
    while not certifies(enough, misses, share, confidence):
        enough *= 2
    short = enough // 2
    while enough - short > 1:
        middle = (enough + short) // 2
        if middle > misses and certifies(middle, misses, share, confidence):
            enough = middle
        else:
            short = middle
    return enough
