"""What was measured of a machine: memory bandwidth by size, rates of products by type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

FLOAT32, BFLOAT16, FLOAT16, FLOAT8, INT8 = "float32", "bfloat16", "float16", "float8", "int8"
BITS: Mapping[str, int] = {FLOAT32: 32, BFLOAT16: 16, FLOAT16: 16, FLOAT8: 8, INT8: 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Reading a buffer of this size again and again; `spread` is 1 − median / best of the rounds.

    `by` names the operation that was fastest, `moved_bytes` what one round of it moves, `rounds`
    how many were timed; None in figures that are older than these.
    """

    size_bytes: int
    gb_s: float
    spread: float
    by: str
    moved_bytes: int | None = None
    rounds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Products of square matrices of one type, in 10⁹ operations a second (2 for each product);
    the best of `rounds` (None in older figures)."""

    dtype: str
    gflops: float
    spread: float
    side: int
    rounds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpeed:
    """Figures of one device with some cores and threads; `reason` says why there are none.

    `limits` is what a part leaves out and why ({"int8": "…"}), `board_gb_s` the product of a GPU's
    memory clock and bus width, which no program exceeds.
    """

    device: str
    cores: tuple[int, ...]
    threads: int
    bandwidths: tuple[Bandwidth, ...] = ()
    rates: tuple[Rate, ...] = ()
    measured_utc: str | None = None
    torch: str | None = None
    reason: str = ""
    limits: Mapping[str, str] | None = None
    board_gb_s: float | None = None

    def bandwidth(self, working_set_bytes: float) -> float | None:
        """GB/s for data of this size: the best of any buffer that is no smaller than the largest
        one within it. So a larger working set is never said to be read faster."""
        if not self.bandwidths:
            return None
        sizes = [one.size_bytes for one in self.bandwidths if one.size_bytes <= working_set_bytes]
        least = max(sizes, default=0)
        return max(one.gb_s for one in self.bandwidths if one.size_bytes >= least)

    def rate(self, bits: int) -> Rate | None:
        """The best that numbers of so many bits could be multiplied at, also by being widened or,
        for 8 bits and fewer, by 8-bit products: a figure from above."""
        able = [one for one in self.rates if BITS[one.dtype] >= min(bits, 32) or bits <= 8]
        return max(able, key=lambda one: one.gflops, default=None)

    def as_json(self) -> dict[str, Any]:
        """The form of the cache and of `--json`."""
        return asdict(self)


def from_json(raw: Mapping[str, Any]) -> HostSpeed:
    """What `as_json` gave; raises KeyError, TypeError or ValueError for anything else."""
    found = dict(raw)
    found["cores"] = tuple(int(core) for core in found["cores"])
    found["bandwidths"] = tuple(Bandwidth(**one) for one in _list(found["bandwidths"]))
    found["rates"] = tuple(Rate(**one) for one in _list(found["rates"]))
    return HostSpeed(**found)


def _list(value: Any) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise TypeError(f"a list is needed, not {value!r}")
    return value
