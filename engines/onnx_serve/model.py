"""A loaded model of onnxruntime-genai: its threads, the cores they stay on, its tokenizer."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """`genai` is the library, `model` its model, `tokenizer` that of the `tokenizers` package,
    whose ids the library gave too when the folder was built; `templates` is the library's own.
    `ends` are the ids that end an answer, `vocabulary` the number of ids there are."""

    genai: Any
    model: Any
    tokenizer: Any
    templates: Any
    ends: frozenset[int]
    vocabulary: int


def load(folder: Path, threads: int, cores: Sequence[int]) -> Loaded:
    """Read weights and tokenizer; takes from a second to minutes."""
    import onnxruntime_genai as genai
    from tokenizers import Tokenizer

    genai.disable_telemetry_events()
    config = genai.Config(str(folder))
    config.overlay(json.dumps(overlay(threads, cores)))
    model = genai.Model(config)
    told = json.loads((folder / "genai_config.json").read_text(encoding="utf-8"))["model"]
    ends = told["eos_token_id"]
    return Loaded(
        genai=genai,
        model=model,
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
        templates=genai.Tokenizer(model),
        ends=frozenset(ends if isinstance(ends, list) else [ends]),
        vocabulary=int(told["vocab_size"]),
    )


def overlay(threads: int, cores: Sequence[int]) -> dict[str, Any]:
    """What is set over the folder's genai_config.json.

    onnxruntime's pool has one thread less than it computes with, as the caller's computes too: each
    is bound to a core of its own after the first, counted from 1.
    """
    session: dict[str, Any] = {"intra_op_num_threads": threads, "inter_op_num_threads": 1}
    if threads > 1 and threads <= len(cores):
        bound = ";".join(str(core + 1) for core in cores[1:threads])
        session["session.intra_op_thread_affinities"] = bound
    return {"model": {"decoder": {"session_options": session}}}


def bind_caller(threads: int, cores: Sequence[int]) -> None:
    """The generating thread computes itself: it stays on the first core."""
    if cores and threads <= len(cores):
        os.sched_setaffinity(threading.get_native_id(), cores[:1])
