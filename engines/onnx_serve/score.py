"""Log-probabilities of every token by onnxruntime-genai in process: reads windows, writes rows.

`python -m quantswarm.engines.onnx_serve.score`, started and read by `scoring_child`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from quantswarm.engines.onnx_serve.alone import generator
from quantswarm.engines.onnx_serve.model import load
from quantswarm.engines.onnx_serve.said import tell
from quantswarm.engines.scoring_child import log_softmax, own_stdout


def main() -> None:
    """Read what is asked, then write window after window."""
    out = own_stdout()
    asked = json.load(sys.stdin)
    folder = Path(asked["model"])
    tell(folder, 1, max(map(len, asked["windows"])))
    loaded = load(folder, asked["threads"], ())
    out.write(loaded.vocabulary.to_bytes(4, "little"))
    for ids in asked["windows"]:
        made = generator(loaded, tuple(ids), 1, do_sample=False)
        out.write(log_softmax(made.get_output("logits")[0][: len(ids) - 1]).tobytes())
        out.flush()
    out.close()


if __name__ == "__main__":
    main()
