"""A machine and weights with round numbers, for tests of ceilings."""

from __future__ import annotations

from quantswarm.bench.physics.ceiling import Physics
from quantswarm.engines.host_speed.figures import Bandwidth, HostSpeed, Rate
from quantswarm.models.weight_parts import EMBEDDINGS, HEAD, LAYERS, Part, Weights

MB = 1_000_000


def speed(gb_s: float = 10.0, gflops: float = 1000.0) -> HostSpeed:
    return HostSpeed(
        device="cpu",
        cores=(0,),
        threads=1,
        bandwidths=(Bandwidth(size_bytes=MB, gb_s=gb_s, spread=0.1, by="dot"),),
        rates=(Rate(dtype="float32", gflops=gflops, spread=0.1, side=512),),
        measured_utc="2026-11-21T10:00:00+00:00",
        torch="2.13.0",
    )


def part(component: str, megabytes: int, *, read: bool = True) -> Part:
    """Bfloat16."""
    elements = megabytes * MB // 2
    return Part(
        component=component,
        kind="bfloat16",
        stored_bytes=megabytes * MB,
        elements=elements,
        parameters=elements,
        plain=True,
        read=read,
    )


def physics(
    *, host: HostSpeed | None = None, dtype: str | None = None, kv_bytes: float | None = 1000.0
) -> Physics:
    """100 MB are read in a step: 90 of layers, 10 of the head."""
    weights = Weights(
        parts=(part(LAYERS, 90), part(EMBEDDINGS, 10, read=False), part(HEAD, 10)),
        kv_elements=500,
        attention_width=256,
        stored_as="bfloat16",
    )
    return Physics(
        weights=weights,
        dtype=dtype,
        kv_bytes=kv_bytes,
        host=speed() if host is None else host,
        most_streams=8,
        unknown={},
    )
