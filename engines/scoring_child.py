"""Rows of log-probabilities from a child process: what it is asked on stdin, what it writes back.

The child writes four bytes (the vocabulary's size, little-endian) and then, for each window of n
ids, n - 1 rows of float32; what it says of itself goes to its stderr. `log_softmax` and
`own_stdout` are for the child's side.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from quantswarm.engines.process import last_lines
from quantswarm.models.errors import RunFailed

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats


def rows(
    module: str,
    request: Mapping[str, Any],
    windows: Sequence[Sequence[int]],
    log: Path,
    *,
    env: Mapping[str, str],
    about: str,
) -> Iterator[Floats]:
    """For each window of n ids [n - 1, vocabulary], from `python -m module`; `log` gets its stderr.

    `RunFailed` with the log's end when it fails; `about` says what was wanted.
    """
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env={**os.environ, **env},
        )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
        yield from _read(child.stdout, windows)
        _require_success(child)
    except ValueError as error:
        raise RunFailed(
            about,
            str(error),
            evidence=last_lines(log, 8),
            next_step="read the log's end above; quantswarm doctor checks this machine",
        ) from None
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _read(pipe: IO[bytes], windows: Sequence[Sequence[int]]) -> Iterator[Floats]:
    import numpy as np

    vocabulary = int.from_bytes(_exactly(pipe, 4), "little")
    for ids in windows:
        content = _exactly(pipe, 4 * (len(ids) - 1) * vocabulary)
        yield np.frombuffer(content, np.float32).reshape(len(ids) - 1, vocabulary)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    content = pipe.read(size)
    if len(content) != size:
        raise ValueError(f"it ended after {len(content)} of {size} bytes")
    return content


def _require_success(child: subprocess.Popen[bytes]) -> None:
    if child.wait() != 0:
        raise ValueError(f"exit code {child.returncode}")


def log_softmax(logits: Floats) -> Floats:
    """Summed in float64, kept in float32."""
    import numpy as np

    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return wide.astype(np.float32)


def own_stdout() -> BinaryIO:
    """The pipe, for rows alone: whatever else is printed goes to stderr from now on."""
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe
