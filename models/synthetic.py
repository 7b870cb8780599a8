"""Models of random weights, made locally: for speed only, never for quality.

Weights are drawn as bfloat16 bit patterns: random sign and fraction, exponent one of two, so that
|w| lies in [2**-7, 2**-5) with a root mean square of 0.019. That is quick (no normal deviates), the
same on every machine, exact in float16, and keeps activations finite in every dtype. Norms are 1,
biases 0.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from quantswarm.models import safetensors_file
from quantswarm.models.artefact import ModelSource
from quantswarm.models.sealed import Contents, sealed_folder
from quantswarm.models.shapes import PREFIX, AnyShape
from quantswarm.models.space import require_disk, require_memory

if TYPE_CHECKING:
    import numpy as np

_VERSION = 1
_SHARD_BYTES = 4 * 2**30
_BLOCK_ELEMENTS = 2**24
_MEMORY_BYTES = 512 * 2**20
_ONE = 0x3F80
_SIGN_EXPONENT_BIT_FRACTION = 0x80FF
_EXPONENT = 0x3C00
"""2**-7 in bfloat16; the lowest bit of the exponent is left to chance."""


def source(shape: AnyShape) -> ModelSource:
    """The model of that shape, written first if it is not there; `NoSpace` with numbers."""
    from quantswarm.models.source import from_folder

    plan = planned(shape)
    assert plan.folder is not None
    sealed_folder(
        plan.folder, asked=f"model {plan.name!r}", build=lambda folder: _build(shape, folder)
    )
    made = from_folder(plan.folder, name=plan.name, random_weights=True)
    assert made.parameters == plan.parameters
    return _with_fingerprint(made, plan.fingerprint)


def planned(shape: AnyShape) -> ModelSource:
    """What `source` returns, before anything is written."""
    from quantswarm.models.source import tiny_folder
    from quantswarm.models.store import home

    tokenizer = tiny_folder() / "tokenizer.json"
    base = tokenizer.read_bytes() if tokenizer.is_file() else b""
    fingerprint = hashlib.sha256(f"{_VERSION} {shape}".encode() + base).hexdigest()
    folder = home() / "models" / f"synthetic-{shape.name}-{fingerprint[:12]}"
    return ModelSource(
        name=PREFIX + shape.name,
        folder=folder,
        gguf=None,
        tokenizer=folder / "tokenizer.json",
        context_tokens=shape.context_tokens,
        parameters=shape.parameters,
        random_weights=True,
        fingerprint=fingerprint,
    )


def _with_fingerprint(made: ModelSource, fingerprint: str) -> ModelSource:
    """The shape decides the weights, so the plan's fingerprint holds."""
    return dataclasses.replace(made, fingerprint=fingerprint)


def _build(shape: AnyShape, folder: Path) -> Contents:
    from quantswarm.models import synthetic_tokenizer
    from quantswarm.models.source import tiny_folder

    asked = f"model '{PREFIX}{shape.name}'"
    require_disk(folder, 2 * shape.parameters, asked)
    require_memory(_MEMORY_BYTES, asked)
    silent = synthetic_tokenizer.write(tiny_folder(), folder, shape.vocabulary, asked)
    write_weights(shape, folder, silent)
    generation = json.loads((tiny_folder() / "generation_config.json").read_text())
    eos = generation["eos_token_id"]
    _write_json(
        folder / "config.json",
        shape.config(generation["bos_token_id"], eos if isinstance(eos, list) else [eos]),
    )
    _write_json(folder / "generation_config.json", generation)
    return Contents(facts={"shape": shape.name, "version": _VERSION})


def write_weights(shape: AnyShape, folder: Path, silent: Iterable[int]) -> None:
    """Shards and their index; rows of the head whose ids are in `silent` are zero."""
    silent_rows = {shape.head: tuple(silent)}
    shards = _in_shards(shape)
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(shards, start=1):
        name = f"model-{number:05}-of-{len(shards):05}.safetensors"
        with (folder / name).open("wb") as out:
            safetensors_file.write_header(out, [(key, "BF16", dims) for key, dims in tensors])
            for key, dims in tensors:
                _write_tensor(out, key, dims, silent_rows.get(key, ()))
        weight_map |= dict.fromkeys((key for key, _ in tensors), name)
    total = {"total_size": 2 * shape.parameters}
    _write_json(
        folder / "model.safetensors.index.json", {"metadata": total, "weight_map": weight_map}
    )


def _in_shards(shape: AnyShape) -> list[list[tuple[str, tuple[int, ...]]]]:
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    room = _SHARD_BYTES
    for key, dims in shape.tensors():
        size = 2 * dims[0] * (dims[1] if len(dims) == 2 else 1)
        if shards[-1] and size > room:
            shards.append([])
            room = _SHARD_BYTES
        shards[-1].append((key, dims))
        room -= size
    return shards


def _write_tensor(
    out: IO[bytes], key: str, dims: tuple[int, ...], silent_rows: tuple[int, ...]
) -> None:
    """By blocks of rows, so that memory stays small; each tensor has its own seed."""
    import numpy as np

    if len(dims) == 1:
        value = 0 if key.endswith(".bias") else _ONE
        out.write(np.full(dims, value, dtype="<u2").tobytes())
        return
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))
    rows, columns = dims
    silent = np.asarray(silent_rows, dtype=np.int64)
    step = max(1, _BLOCK_ELEMENTS // columns)
    for first in range(0, rows, step):
        block = random_bfloat16(generator, min(step, rows - first), columns)
        inside = silent[(silent >= first) & (silent < first + len(block))]
        block[inside - first] = 0
        out.write(block.data)


def random_bfloat16(generator: np.random.Generator, rows: int, columns: int) -> Any:
    """[rows, columns] of bfloat16 bit patterns (uint16), as the module's docstring says."""
    import numpy as np

    block = generator.integers(0, 2**16, size=(rows, columns), dtype=np.uint16)
    block &= np.uint16(_SIGN_EXPONENT_BIT_FRACTION)
    block |= np.uint16(_EXPONENT)
    return block


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
