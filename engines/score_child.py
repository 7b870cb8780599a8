"""A child process that scores windows: settings and windows go in by stdin, rows come by stdout.

The child is a module of ours. It reads one JSON object (the settings and `windows`) and writes four
bytes, the vocabulary's size (little-endian), and then, for each window of n ids, n - 1 rows of
float32: row i holds the log-probabilities of the token after token i. What it says goes to a log.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from quantswarm.engines.process import last_lines
from quantswarm.models.errors import RunFailed

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats


def rows(
    module: str,
    settings: Mapping[str, Any],
    windows: Sequence[Sequence[int]],
    log: Path,
    *,
    asked: str,
    env: Mapping[str, str] | None = None,
) -> Iterator[Floats]:
    """[n - 1, vocabulary] for each window of n ids; `RunFailed` with the log's end otherwise."""
    body = json.dumps({**settings, "windows": [list(ids) for ids in windows]})
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env={**os.environ, **(env or {})},
        )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(body.encode())
            child.stdin.close()
        yield from _read(child.stdout, windows)
        _require_success(child)
    except ValueError as error:
        raise RunFailed(
            f"log-probabilities of {Path(str(settings['model'])).name} by {asked} in process",
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
