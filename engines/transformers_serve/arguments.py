"""The command line that `engines/transformers.py` writes and its processes read."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

KEY_VARIABLE = "QUANTSWARM_SERVER_KEY"
INT8_DYNAMIC, BNB_INT8, BNB_NF4 = "int8-dynamic", "bnb-int8", "bnb-nf4"
QUANTIZE = (INT8_DYNAMIC, BNB_INT8, BNB_NF4)
MOST_LOGPROBS = 64
"""Likeliest tokens that a request may ask for at each place."""
DTYPES = ("float32", "bfloat16", "float16")


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """From everything after the module's name."""
    parser = argparse.ArgumentParser(prog="transformers_serve", allow_abbrev=False)
    parser.add_argument("--model", required=True)
    parser.add_argument("--served-name", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cores", default="")
    parser.add_argument("--context", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, required=True)
    parser.add_argument("--quantize", choices=QUANTIZE)
    parser.add_argument("--continuous-batching", type=int, default=0, metavar="REQUESTS")
    parser.add_argument("--log-requests", action="store_true")
    return parser.parse_args(list(words))
