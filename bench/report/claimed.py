"""What others report beside what this run shows: a table, and the sentences under it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quantswarm.bench.judge.claimed import theirs_text, times
from quantswarm.bench.report import numerals
from quantswarm.bench.report.compared import Table, interval_text

TITLE = "What others report, and what this run shows"
LEGEND = (
    "Theirs and ours are ratios of the variant to its baseline; ours / theirs is the ratio of the "
    "ratios, 1 where they agree or ours lies in a reported range. Reproduced: within 10 %, or not "
    "told apart by the 95 % interval. Smaller and larger speak of the effect, not of the number; "
    "not settled: the interval is too wide to tell."
)


def table(summary: Mapping[str, Any]) -> Table | None:
    """A row for each claim; None for a run without claims."""
    claims = summary.get("claims")
    if not claims:
        return None
    return Table(
        title=TITLE,
        head=(
            *("source", "statement", "metric", "variant", "baseline", "users"),
            *("theirs", "ours", "95 % interval", "ours / theirs", "verdict"),
        ),
        numeric=(*(False,) * 5, *(True,) * 5, False),
        rows=[_row(claim) for claim in claims],
    )


def sentences(summary: Mapping[str, Any]) -> list[str]:
    """What each claim came to, with what is known to differ there; then who was left out."""
    told = [
        " ".join(filter(None, (f"{claim['source']}: {claim['sentence']}", _ended(claim["note"]))))
        for claim in summary.get("claims") or ()
    ]
    return told + [str(entry["sentence"]) for entry in summary.get("left_out") or ()]


def _row(claim: Mapping[str, Any]) -> list[str]:
    ours = claim["ours"]
    return [
        claim["source"],
        claim["statement"],
        f"{claim['title']}{_unit(claim)}",
        _with_value(claim["variant"], claim["variant_value"]),
        _with_value(claim["baseline"], claim["baseline_value"]),
        str(claim["users"]),
        theirs_text(claim),
        numerals.NA if ours is None else times(ours),
        interval_text({"ratio": ours, "low": claim["low"], "high": claim["high"]}),
        numerals.NA if ours is None else f"{claim['ratio_of_ratios']:.2f}",
        claim["verdict"],
    ]


def _unit(claim: Mapping[str, Any]) -> str:
    return f" ({claim['unit']})" if claim["unit"] else ""


def _with_value(name: str, value: float | None) -> str:
    return name if value is None else f"{name}: {numerals.plain(value)}"


def _ended(note: str) -> str:
    return f"{note.rstrip('.')}." if note else ""
