"""Write what an engine's server answers under its metrics path, for the tests of gauges.

`python tests/engines/take_snapshot.py vllm` makes snapshots/vllm-VERSION.txt.

Four requests are made: the one that proves the server ready, and three of 20 tokens. Metrics of
the server's runtime are left out, they change from run to run.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantswarm.engines.prepare import ServeOptions, prepare
from quantswarm.engines.registry import engine_named
from quantswarm.engines.server import running
from quantswarm.models import source, store
from quantswarm.models.recipes import recipes

CHEAP = ("fp32", "q8_0", "onnx-fp32")
RUNTIME = ("python_", "process_", "http_")
PROMPTS = ("The first", "A second, longer", "The third and last of them")


def snapshot(name: str) -> Path:
    """The path that was written."""
    engine = engine_named(name)
    version = engine.probe().version
    if version is None:
        raise SystemExit(f"the version of {name} is unknown: use the one that set-up installs")
    recipe = next(r for r in recipes().values() if r.name in CHEAP and r.format in engine.formats)
    artefact = store.artefact(source.resolve("tiny"), recipe)
    options = ServeOptions(port=0, users=1, context_tokens=128, eager=True)
    prepared = prepare(engine, recipe, artefact, options)
    log = Path(tempfile.mkdtemp()) / "server.log"
    with running(engine, artefact, prepared.spec, prepared.flags, log=log) as server:
        for prompt in PROMPTS:
            ask(server.base_url, server.served_name, prompt, engine.pinned_fields(20))
        url = f"{server.root_url}{engine.metrics_path}"
        text = urllib.request.urlopen(url, timeout=60).read().decode()
    path = Path(__file__).parent / "snapshots" / f"{name}-{version}.txt"
    path.write_text("".join(f"{line}\n" for line in text.splitlines() if ours(line)))
    return path


def ask(base_url: str, model: str, prompt: str, pinned: Mapping[str, Any]) -> None:
    """One answer of 20 tokens, not streamed."""
    fields = {key: value for key, value in pinned.items() if key != "stream_options"}
    body = {"model": model, "prompt": prompt, "max_tokens": 20, "temperature": 0, **fields}
    request = urllib.request.Request(
        f"{base_url}/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        answer.read()


def ours(line: str) -> bool:
    """Whether a line, or its comment, is of the engine and not of its runtime."""
    words = line.split()
    name = words[2] if line.startswith("#") and len(words) > 2 else line
    return bool(line.strip()) and not name.startswith(RUNTIME)


if __name__ == "__main__":
    print(snapshot(sys.argv[1]))
