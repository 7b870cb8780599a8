"""Numbers as readers see them: few digits, a unit where needed, "n/a" for what is not known."""

from __future__ import annotations

NA = "n/a"


def plain(value: float | None, *, digits: int = 3) -> str:
    """About `digits` significant digits without an exponent; thousands are parted by a comma."""
    if value is None:
        return NA
    size = abs(value)
    places = 0
    while places < digits and size < 10 ** (digits - 1 - places):
        places += 1
    return f"{value:,.{places}f}" if value else "0"


def withheld(value: float | None, n: int | None) -> str:
    """A percentile, or "n/a (n=…)" where too few samples stand behind it."""
    if value is None and n:
        return f"{NA} (n={n:,})"
    return plain(value)


def whole(value: float | None) -> str:
    """A count."""
    return NA if value is None else f"{value:,.0f}"


def megabytes(value: float | None) -> str:
    """Bytes as MB of 10⁶, or as GB from 10⁹ on."""
    if value is None:
        return NA
    return f"{plain(value / 1e9)} GB" if value >= 1e9 else f"{plain(value / 1e6)} MB"


def share(value: float | None) -> str:
    """A part of 1 as per cent."""
    return NA if value is None else f"{value:.1%}".replace(".0%", "%")


def seconds(value: float | None) -> str:
    """A duration with its unit."""
    return NA if value is None else f"{plain(value, digits=2)} s"
