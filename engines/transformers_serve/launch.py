"""Start `transformers serve` on one local model; the options are those of `arguments`.

The model is loaded by the thread that computes with it, bound to the compute cores; HTTP stays on
the main thread. See docs/transformers.md for what is mended and why.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn
from transformers import ContinuousBatchingConfig, GenerationConfig

from quantswarm.engines.transformers_serve.app import Locked, application
from quantswarm.engines.transformers_serve.arguments import KEY_VARIABLE, parsed
from quantswarm.engines.transformers_serve.facts import CACHE
from quantswarm.engines.transformers_serve.handlers import Serving
from quantswarm.engines.transformers_serve.loaded import load, settle
from quantswarm.engines.transformers_serve.streams import NO_TOKEN, OneByOne, Together

PAGE_TOKENS = 256
"""Of a page of the key-value cache, upstream's own default."""
STEP_TOKENS = 512
"""Most tokens that one step of a continuous batch computes: longer prompts take several."""
STOP_S = 3


def main(words: Sequence[str] | None = None) -> int:
    """Serve until a signal ends it."""
    asked = parsed(sys.argv[1:] if words is None else words)
    key = os.environ.pop(KEY_VARIABLE, None)
    one = OneByOne(asked.context)
    one.submit(settle, asked.threads, asked.cores).result()
    model, tokenizer = one.submit(load, asked).result()
    together = one.submit(batch, asked, model).result() if asked.continuous_batching else None
    app: Any = application(
        Serving(asked.served_name, model, tokenizer, one, together), asked.context
    )
    if key is not None:
        app = Locked(app, key)
    config = uvicorn.Config(
        app,
        host=asked.host,
        port=asked.port,
        log_level="info" if asked.log_requests else "warning",
        access_log=asked.log_requests,
        timeout_graceful_shutdown=STOP_S,
    )
    uvicorn.Server(config).run()
    sys.stdout.flush()
    # Compute threads may be in the middle of a product: nothing of theirs may be torn down.
    os._exit(0)


def batch(asked: argparse.Namespace, model: Any) -> Together:
    """A continuous batch with room for every slot; its thread inherits this one's cores."""
    pages = asked.continuous_batching * (-(-asked.context // PAGE_TOKENS) + 1)
    config = ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        num_blocks=pages,
        max_batch_tokens=max(STEP_TOKENS, asked.continuous_batching),
        max_requests_per_batch=asked.continuous_batching,
        allow_block_sharing=False,
    )
    together = Together(asked.context, config)
    greedy = GenerationConfig(
        do_sample=False, use_cache=False, eos_token_id=NO_TOKEN, pad_token_id=0
    )
    together.init_cb(model, greedy)
    facts = {"tokens": pages * PAGE_TOKENS, "dtype": asked.dtype}
    print(f"{CACHE}{json.dumps(facts)}", flush=True)
    return together


if __name__ == "__main__":
    sys.exit(main())
