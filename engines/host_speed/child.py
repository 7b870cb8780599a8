"""The measuring itself, in a process of its own: `python -m` with a request, answers on stdout.

Memory is read by three operations (a sum, a product of vectors, one of matrix and vector), because
none is the fastest everywhere; the best round of the best of them counts. The last is what a step
of decoding does. On a GPU a copy is read and written, and counts for both; each round ends when the
GPU has ended it. Bytes moved and rounds are told with each figure.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SIDES = (256, 512, 1024, 2048)
GPU_SIDES = (2048, 4096, 8192)
GPU_SHARE = 8
"""A buffer takes at most this part of the GPU's free memory: a copy needs a second one."""
_COLUMNS = 1024
_FEWEST_ROUNDS = 3

Clock = Callable[[], float]
Run = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`budget_s` is for one operation at one size."""

    device: str
    cores: tuple[int, ...]
    threads: int
    sizes: tuple[int, ...]
    budget_s: float


def rounds(run: Run, budget_s: float, clock: Clock) -> list[float]:
    """Seconds of each round until the budget is spent, three at least, after one that is not
    counted."""
    run()
    found: list[float] = []
    while len(found) < _FEWEST_ROUNDS or sum(found) < budget_s:
        before = clock()
        run()
        found.append(clock() - before)
    return found


def figures(torch: Any, request: Request, clock: Clock = time.perf_counter) -> dict[str, Any]:
    """Bandwidths and rates as JSON-serialisable values; `torch` is the module, or a test's."""
    wait = torch.cuda.synchronize if request.device == "cuda" else _nothing
    limits: dict[str, str] = {}
    with torch.inference_mode():
        sizes = _fitting(torch, request)
        curve = [_bandwidth(torch, request, size, clock, wait) for size in sizes]
        rates = list(_rates(torch, request, clock, wait, limits))
    return {"bandwidths": curve, "rates": rates, "torch": torch.__version__, "limits": limits}


def _fitting(torch: Any, request: Request) -> tuple[int, ...]:
    """The sizes that the GPU's free memory has room for, the smallest in any case."""
    if request.device != "cuda":
        return request.sizes
    free, _ = torch.cuda.mem_get_info()
    return tuple(s for s in request.sizes if s <= free // GPU_SHARE) or request.sizes[:1]


def _nothing() -> None:
    """A CPU's operations have ended when they return."""


def _bandwidth(
    torch: Any, request: Request, size: int, clock: Clock, wait: Run
) -> dict[str, float | int | str]:
    best: dict[str, float | int | str] = {}
    for name, moved, run in _readers(torch, request.device, size):
        took = rounds(_ended(run, wait), request.budget_s, clock)
        gb_s = moved / min(took) / 1e9
        if not best or gb_s > float(best["gb_s"]):
            best = {
                "size_bytes": size,
                "gb_s": gb_s,
                "spread": _spread(took),
                "by": name,
                "moved_bytes": moved,
                "rounds": len(took),
            }
    return best


def _readers(torch: Any, device: str, size: int) -> Iterator[tuple[str, int, Run]]:
    """Name, bytes moved and the operation."""
    numbers = torch.ones(size // 4, dtype=torch.float32, device=device)
    if device == "cuda":
        other = torch.empty_like(numbers)
        yield "copy", 2 * size, lambda: other.copy_(numbers)
    yield "sum", size, numbers.sum
    yield "dot", size, lambda: torch.dot(numbers, numbers)
    matrix = numbers.view(-1, _COLUMNS)
    vector = torch.ones(_COLUMNS, dtype=torch.float32, device=device)
    yield "matrix-vector", size, lambda: torch.mv(matrix, vector)


def _rates(
    torch: Any, request: Request, clock: Clock, wait: Run, limits: dict[str, str]
) -> Iterator[dict[str, float | int | str]]:
    of_gpu = request.device == "cuda"
    kinds = ["float32", "bfloat16", *(["float16", "float8"] if of_gpu else []), "int8"]
    for kind in kinds:
        try:
            yield _rate(torch, request, kind, clock, wait)
        except (RuntimeError, AttributeError, NotImplementedError) as error:
            limits[kind] = f"not multiplied by this torch: {str(error).splitlines()[0]}"


def _rate(
    torch: Any, request: Request, kind: str, clock: Clock, wait: Run
) -> dict[str, float | int | str]:
    """The best of growing sizes; a size that would take longer than the budget is left out."""
    best: dict[str, float | int | str] = {}
    for side in GPU_SIDES if request.device == "cuda" else SIDES:
        run = _ended(_product(torch, kind, side, request.device), wait)
        took = rounds(run, request.budget_s, clock)
        gflops = 2 * side**3 / min(took) / 1e9
        if not best or gflops > float(best["gflops"]):
            best = {
                "dtype": kind,
                "gflops": gflops,
                "spread": _spread(took),
                "side": side,
                "rounds": len(took),
            }
        if 8 * min(took) * _FEWEST_ROUNDS > 4 * request.budget_s:
            break
    return best


def _product(torch: Any, kind: str, side: int, device: str) -> Run:
    """Two square matrices of ones, multiplied. Those of 8-bit floats have a scale each, and lie
    as the tensor cores want them: the second by columns."""
    stored = getattr(torch, "float8_e4m3fn" if kind == "float8" else kind)
    a = torch.ones(side, side, device=device).to(stored)
    b = torch.ones(side, side, device=device).to(stored)
    if kind == "int8":
        return lambda: torch._int_mm(a, b)  # noqa: SLF001 — it has no public name
    if kind == "float8":
        by_columns, one = b.t(), torch.ones(1, device=device)
        product = torch._scaled_mm  # noqa: SLF001 — nor has this
        return lambda: product(a, by_columns, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    return lambda: torch.mm(a, b)


def _ended(run: Run, wait: Run) -> Run:
    def both() -> None:
        run()
        wait()

    return both


def _spread(took: Sequence[float]) -> float:
    return 1 - min(took) / statistics.median(took)


def main(words: Sequence[str]) -> int:
    """Print the figures as one JSON object; exit code 3 and a reason where there is no torch."""
    raw = json.loads(words[0])
    request = Request(**{**raw, "cores": tuple(raw["cores"]), "sizes": tuple(raw["sizes"])})
    if request.cores:
        os.sched_setaffinity(0, request.cores)
    try:
        import torch
    except ImportError as error:
        print(json.dumps({"reason": f"torch cannot be imported: {error}"}))
        return 3
    torch.set_num_threads(request.threads)
    if request.device == "cuda" and not torch.cuda.is_available():
        print(json.dumps({"reason": "this torch sees no GPU"}))
        return 3
    print(json.dumps(figures(torch, request)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
