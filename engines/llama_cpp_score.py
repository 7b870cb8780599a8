"""Log-probabilities of every token by llama.cpp in process: reads windows, writes rows.

`python -m quantswarm.engines.llama_cpp_score` reads one JSON object on stdin (see `Settings` in
`llamacpp_logits`), and writes to stdout what `scoring_child` reads: row i of a window is about the
token that follows token i. The libraries are those in `LLAMA_CPP_LIB_PATH`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantswarm.engines.llama_cpp_launch import load_backends
from quantswarm.engines.scoring_child import log_softmax, own_stdout

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats


class Context:
    """A model and one sequence's cache, as llama-server would make them."""

    def __init__(self, package: Any, asked: dict[str, Any]) -> None:
        self._package = package
        package.llama_backend_init()
        of_model = package.llama_model_default_params()
        of_model.n_gpu_layers = asked["gpu_layers"]
        self._model = package.llama_model_load_from_file(os.fsencode(asked["model"]), of_model)
        if not self._model:
            raise SystemExit(f"llama.cpp cannot load {asked['model']}")
        longest = max(map(len, asked["windows"]))
        how = package.llama_context_default_params()
        how.n_ctx = longest
        how.n_batch = max(how.n_batch, longest)
        how.n_threads, how.n_threads_batch = asked["threads"], asked["threads_batch"]
        how.type_k, how.type_v = asked["type_k"], asked["type_v"]
        how.flash_attn_type = asked["flash_attn"]
        self._context = package.llama_init_from_model(self._model, how)
        if not self._context:
            raise SystemExit("llama.cpp cannot make a context with these settings")
        vocab = package.llama_model_get_vocab(self._model)
        self.vocabulary = int(package.llama_vocab_n_tokens(vocab))
        told = package.llama_print_system_info().decode()
        print(f"system_info: n_threads = {asked['threads']} | {told}", file=sys.stderr)

    def rows(self, ids: Sequence[int]) -> Floats:
        """[ids - 1, vocabulary] log-probabilities; nothing is kept from one window to the next."""
        import numpy as np

        package, count = self._package, len(ids)
        package.llama_memory_clear(package.llama_get_memory(self._context), True)
        batch = package.llama_batch_init(count, 0, 1)
        try:
            batch.n_tokens = count
            for at, token in enumerate(ids):
                batch.token[at], batch.pos[at] = token, at
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
                batch.logits[at] = at < count - 1
            failed = package.llama_decode(self._context, batch)
            if failed:
                raise SystemExit(f"llama_decode gave {failed} for a window of {count} tokens")
            logits = package.llama_get_logits(self._context)
            shape = (count - 1, self.vocabulary)
            return log_softmax(np.ctypeslib.as_array(logits, shape=shape))
        finally:
            package.llama_batch_free(batch)


def main() -> None:
    """Read what is asked, then write window after window."""
    out = own_stdout()
    asked = json.load(sys.stdin)
    folder = os.environ.get("LLAMA_CPP_LIB_PATH")
    if folder:
        load_backends(Path(folder))
    import llama_cpp

    context = Context(llama_cpp, asked)
    out.write(context.vocabulary.to_bytes(4, "little"))
    for ids in asked["windows"]:
        out.write(context.rows(ids).tobytes())
        out.flush()
    out.close()


if __name__ == "__main__":
    main()
