"""Log-probabilities of every token by the model as it is served: reads windows, writes rows.

`python -m quantswarm.engines.transformers_serve.score` reads one JSON object on stdin: `argv`, the
server's own arguments, and `windows`. What it writes is what `engines/scoring_child.py` reads.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from quantswarm.engines.scoring_child import log_softmax, own_stdout
from quantswarm.engines.transformers_serve.arguments import parsed
from quantswarm.engines.transformers_serve.loaded import load, settle


def main() -> None:
    """Read what is asked, then write window after window."""
    out = own_stdout()
    asked = json.load(sys.stdin)
    arguments = parsed(asked["argv"])
    settle(arguments.threads, "")
    model, _ = load(arguments)
    for number, ids in enumerate(asked["windows"]):
        logits = _logits(model, ids)
        if number == 0:
            out.write(logits.shape[-1].to_bytes(4, "little"))
        out.write(log_softmax(logits.numpy()).tobytes())
        out.flush()
    out.close()


def _logits(model: Any, ids: list[int]) -> torch.Tensor:
    """[ids - 1, vocabulary] in float32."""
    with torch.inference_mode():
        found = model(torch.tensor([ids], device=model.device), use_cache=False).logits
    rows: torch.Tensor = found[0, :-1].float().cpu()
    return rows


if __name__ == "__main__":
    main()
