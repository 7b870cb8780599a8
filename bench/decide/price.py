"""What an hour of the machine costs: as given, or out of a small dated table; and a token of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench import config_file
from quantswarm.bench.atomic import write_text
from quantswarm.models.errors import BadFile, UnknownName, UserMistake

TABLE = Path(__file__).with_name("prices.toml")
FILE = "price.json"
"""Beside a run's cells: judging again uses the same price."""
_KEYS = {"per_hour", "currency", "as_of", "what", "source"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """`per_hour` of `currency`; `source` says in words where the number comes from."""

    per_hour: float
    currency: str
    source: str
    machine: str | None = None
    as_of: str | None = None

    def per_million(self, tokens_per_s: float | None) -> float | None:
        """For a million output tokens, at a throughput in tokens a second; None without one."""
        return self.per_hour / 3600 / tokens_per_s * 1e6 if tokens_per_s else None

    @property
    def words(self) -> str:
        """For people: the number, and where it comes from."""
        machine = f" ({self.machine})" if self.machine else ""
        return f"{self.per_hour:g} {self.currency} an hour{machine}: {self.source}"


def given_price(per_hour: float | None, machine: str | None) -> Price | None:
    """The price that a command was given; None without one. `UserMistake` for two at once."""
    if per_hour is not None and machine is not None:
        raise UserMistake(
            f"--price-per-hour {per_hour:g} --machine {machine}",
            "two prices",
            next_step="give one of them",
        )
    if machine is not None:
        return price_of(machine)
    if per_hour is None:
        return None
    return Price(per_hour=per_hour, currency="currency units", source="as given")


def price_of(machine: str, table: Path = TABLE) -> Price:
    """A machine's list price; `UnknownName` with near misses for one that is not in the table."""
    known = config_file.read("price table", table)
    if machine not in known:
        raise UnknownName(
            "machine", machine, known, next_step="--machine with one of these, or --price-per-hour"
        )
    entry = known[machine]
    config_file.check_keys(entry, _KEYS, table)
    return Price(
        per_hour=float(entry["per_hour"]),
        currency=str(entry["currency"]),
        source=f"{entry['source']}, as of {entry['as_of']}; check it before relying on it",
        machine=f"{machine}, {entry['what']}",
        as_of=str(entry["as_of"]),
    )


def store_price(run: Path, price: Price) -> None:
    """Keep a price with a run."""
    write_text(run / FILE, json.dumps(asdict(price), indent=1) + "\n")


def stored_price(run: Path) -> Price | None:
    """The price kept with a run; None without one. Raises BadFile."""
    path = run / FILE
    if not path.is_file():
        return None
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Price(**{**stored, "per_hour": float(stored["per_hour"])})
    except (ValueError, KeyError, TypeError) as error:
        raise BadFile(
            str(path), f"not a price: {error!r}", next_step="remove it, or give --price-per-hour"
        ) from None
