"""The decision in words: a table beside the baseline, fronts, leads, capacity, constraints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.compare.ratio import SAME, UNKNOWN
from quantswarm.bench.decide.quantities import QUANTITIES
from quantswarm.bench.report import numerals
from quantswarm.bench.report.compared import Table, interval_text
from quantswarm.bench.report.quality import signed

Decision = Mapping[str, Any]
Row = Mapping[str, Any]

LEGEND = (
    "= no difference was found (inside the noise, or under 0.5% of perplexity, the whole "
    "interval); ? the noise is not known. Memory and weights: "
    "what the baseline takes, and the part of it that a variant saves."
)
_MARKS = {SAME: " =", UNKNOWN: " ?"}


def beside_table(decision: Decision, *, wide: bool = True) -> Table:
    """Every variant beside the baseline, by load; `wide` adds intervals, cost and energy,
    for which a terminal has no room."""
    several = len({row["model"] for row in decision["rows"]}) > 1
    priced = decision["price"] is not None
    head = (
        *("load", "variant", "output (tok/s)", "speed-up"),
        *(("95 % interval", "TTFT", "TPOT") if wide else ("TTFT", "TPOT")),
        *(("memory saved", "weights saved") if wide else ("memory", "weights")),
        *("Δ perplexity", "KL"),
        *(("cost per 1M",) if wide or priced else ()),
        *(("tok/J",) if wide else ()),
    )
    return Table(
        title=f"Beside {decision['baseline']}",
        head=head,
        numeric=(False, False, *(True for _ in head[2:])),
        rows=[_beside(row, several, wide=wide, priced=priced) for row in decision["rows"]],
    )


def _beside(row: Row, several: bool, *, wide: bool, priced: bool) -> list[str]:
    values = row["values"]
    memory = "gpu_memory_gb" if values["gpu_memory_gb"] is not None else "memory_gb"
    cost = numerals.plain(values["cost_per_million"])
    return [
        f"{row['load']}, {row['model']}" if several else str(row["load"]),
        str(row["variant"]),
        numerals.plain(values["output_tok_s"]),
        _ratio(row, "output_tok_s"),
        *([interval_text(row["speed"]["output_tok_s"])] if wide else []),
        _ratio(row, "ttft_p50_ms"),
        _ratio(row, "tpot_p50_ms"),
        _saved(row, memory),
        _saved(row, "weights_gb"),
        lost(row["quality"], wide=wide),
        divergence(row["quality"]),
        *([cost] if wide or priced else []),
        *([numerals.plain(values["tokens_per_joule"])] if wide else []),
    ]


def _ratio(row: Row, name: str) -> str:
    if row["baseline"]:
        return "baseline"
    found = row["speed"][name]
    return f"{found['ratio']:.2f}×{_MARKS.get(found['verdict'], '')}" if found else numerals.NA


def _saved(row: Row, name: str) -> str:
    if row["baseline"]:
        value = row["values"][name]
        return numerals.NA if value is None else numerals.megabytes(value * 1e9)
    found = row["size"][name]
    if found is None:
        return numerals.NA
    return f"{found['saved']:.0%}{_MARKS.get(found['verdict'], '')}".replace("-", "−")


def lost(quality: Mapping[str, Any] | None, *, wide: bool = True) -> str:
    """The increase of perplexity in per cent, with its interval where there is room."""
    if not quality or quality["increase_percent"] is None:
        return numerals.NA
    text = f"{signed(quality['increase_percent'])}%"
    if wide and quality["low_percent"] is not None:
        text += f" ({signed(quality['low_percent'])} to {signed(quality['high_percent'])})"
    return text + _MARKS.get(quality["verdict"], "")


def divergence(quality: Mapping[str, Any] | None) -> str:
    """Mean KL divergence to the reference, in nats."""
    value = quality["kl_mean"] if quality else None
    return numerals.NA if value is None else f"{value:.2g}"


def sentences(decision: Decision) -> list[str]:
    """Everything there is to say in words, in the order of reports."""
    remark = [f"{decision['remark']}."] if decision["remark"] else []
    return remark + [text for _, texts in parts(decision) for text in texts]


def parts(decision: Decision) -> list[tuple[str, list[str]]]:
    """The same under headings; without those that have nothing to say."""
    found = [
        ("Pareto front", front_sentences(decision)),
        ("Over the users", lead_sentences(decision)),
        ("Capacity within the objectives", capacity_sentences(decision)),
        ("Cost and energy", spent_sentences(decision)),
    ]
    return [(title, texts) for title, texts in found if texts]


def front_sentences(decision: Decision) -> list[str]:
    """For each load: what the front is over, who is on it, and who dominates whom."""
    return [text for front in decision["fronts"] for text in _front(front)]


def _front(front: Mapping[str, Any]) -> list[str]:
    over = _listed([QUANTITIES[name].title for name in front["axes"]])
    on = _listed(front["on"]) if front["on"] else "nothing"
    lacks = "" if len(front["axes"]) > 2 else " (quality was not measured)"
    told = [f"At {front['load']}, over {over}{lacks}, the Pareto front is {on}."]
    told += [
        f"{one['variant']} is on it only by leads inside the noise: {one['by']} is clearly better "
        "in something, and clearly worse in nothing."
        for one in front["barely"]
    ]
    told += [lost["sentence"] for lost in front["dominated"]]
    return told + [f"{out['variant']} is not placed: {out['why']}." for out in front["left_out"]]


def lead_sentences(decision: Decision) -> list[str]:
    """Each variant's lead over the users; and why leads shrink, where one does."""
    told = [lead["sentence"] for lead in decision["leads"]]
    return told + ([decision["why"]] if decision["why"] else [])


def capacity_sentences(decision: Decision) -> list[str]:
    """The highest load within the objectives, a variant each; first what the objectives are."""
    found = decision["capacity"]
    told = []
    for objectives in dict.fromkeys(one["objectives"] for one in found):
        mine = [one for one in found if one["objectives"] == objectives]
        closed = any(one["unit"] == "users" for one in mine)
        caution = (
            " Users of a closed loop ask less often where answers take longer, so this is no "
            "statement about a rate that is offered (quantswarm saturate)."
        )
        told.append(f"Objectives: {objectives}.{caution if closed else ''}")
        told += [one["sentence"] for one in mine]
    return told


def spent_sentences(decision: Decision) -> list[str]:
    """What the price is, and why there is no cost or energy."""
    price = decision["price"]
    told = (
        [f"Price: {price['words']}."]
        if price
        else ["Cost: n/a, no price was given (--price-per-hour)."]
    )
    reasons = [row["missing"].get("tokens_per_joule") for row in decision["rows"]]
    why = next((str(reason) for reason in reasons if reason), None)
    return told + ([f"Energy: n/a, {why}."] if why and all(reasons) else [])


def constraint_table(constraints: Mapping[str, Any]) -> Table:
    """Every option against all constraints that were asked for."""
    return Table(
        title="Constraints",
        head=("load", "variant", "meets all", "constraints"),
        numeric=(False, False, False, False),
        rows=[
            [
                str(option["load"]),
                str(option["variant"]),
                "yes" if option["meets"] else "no",
                "; ".join(found["words"] for found in option["constraints"]),
            ]
            for option in constraints["options"]
        ],
    )


def constraint_sentence(constraints: Mapping[str, Any]) -> str:
    """Who keeps everything that was asked, and where."""
    meets = [f"{o['variant']} at {o['load']}" for o in constraints["options"] if o["meets"]]
    asked = ", ".join(constraints["asked"])
    return f"{asked}: kept by {_listed(meets) if meets else 'no valid variant'}."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
