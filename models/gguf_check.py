"""Does llama.cpp give the ids that the Hugging Face tokenizer gives? Asked after each conversion.

llama.cpp speaks through its Python package, in a child process (it loads libraries and prints);
where the package is not installed, only the structural refusals of `gguf_vocabulary` guard.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

from quantswarm.models.errors import BuildFailed

SAMPLES = (
    "",
    "a",
    " leading and trailing ",
    "def f(x: int) -> str:\n    return f'{x!r}'\n",
    "It's 3.14, isn't it? We'll see; they've gone.",
    "\t\ttabs\n\n\nnewlines   and    runs of spaces",
    "naïve café, Größe, Žluťoučký kůň",
    "数学と物理 🦙🦙 Ωμέγα",
    "1234567890 12 345 a1b2c3 x_y-z",
    "<|endoftext|>",
    "http://example.org/?q=a+b&c=%20#frag",
    "   \n \t \r\n end",
)

_ASK = """
import json, sys
from llama_cpp import Llama
model = Llama(model_path=sys.argv[1], vocab_only=True, verbose=False)
texts = json.load(sys.stdin)
ids = [model.tokenize(t.encode(), add_bos=False, special=True) for t in texts]
print("\\n" + json.dumps(ids))
"""


def require_same_ids(gguf: Path, tokenizer: Path) -> None:
    """`BuildFailed` with the first text for which the two disagree."""
    from tokenizers import Tokenizer

    found = llama_cpp_ids(gguf, SAMPLES)
    if found is None:
        return
    encoder = Tokenizer.from_file(str(tokenizer))
    for text, ids in zip(SAMPLES, found, strict=True):
        wanted = encoder.encode(text, add_special_tokens=False).ids
        if ids != wanted:
            raise BuildFailed(
                f"GGUF with the tokenizer {tokenizer}",
                f"llama.cpp gives other token ids for {text!r}",
                evidence=f"llama.cpp: {ids}\ntokenizers: {wanted}",
                next_step="give a ready-made .gguf file as model, or serve the folder with vllm",
            )


def llama_cpp_ids(gguf: Path, texts: tuple[str, ...]) -> list[list[int]] | None:
    """Token ids by llama.cpp, special tokens parsed, none added; None where it cannot be asked."""
    from quantswarm.models.store import home

    if importlib.util.find_spec("llama_cpp") is None:
        return None
    libraries = home() / "llama.cpp" / "current" / "bin"
    env = dict(os.environ)
    if libraries.is_dir():
        env.setdefault("LLAMA_CPP_LIB_PATH", str(libraries))
    ended = subprocess.run(
        [sys.executable, "-c", _ASK, str(gguf)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    if ended.returncode != 0:
        print("llama_cpp could not be asked for token ids; unchecked", file=sys.stderr)
        return None
    ids: list[list[int]] = json.loads(ended.stdout.splitlines()[-1])
    return ids
