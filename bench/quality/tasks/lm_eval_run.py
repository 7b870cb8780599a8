"""EleutherAI's lm-evaluation-harness against a served model, as a child process of its own.

It asks `/v1/completions` with token ids (`local-completions`), and scores likelihoods from the
echo of the prompt: right only where the server's echo is (vLLM), so other servers get only tasks
that generate.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.quality.tasks import lm_eval_names
from quantswarm.bench.quality.tasks.document import LM_EVAL, Document, document
from quantswarm.bench.quality.tasks.endpoint import AT_ONCE, ECHO
from quantswarm.bench.quality.tasks.lm_eval_samples import results_in
from quantswarm.bench.tool_environment import folder_for, python_with
from quantswarm.bench.verify.asking import Asked
from quantswarm.engines.process import key_in
from quantswarm.engines.provision.tools import tail
from quantswarm.models.errors import (
    NotAvailable,
    RunFailed,
    UnknownName,
    UnsupportedPair,
    UserMistake,
)

NAME = "lm-evaluation-harness"
WANTED = ("lm_eval[api]==0.4.13", "transformers==5.19.0", "numpy==2.3.5")
"""transformers is only for its tokenizers: no torch comes with it."""
GENERATES = "generate_until"
POSITIONS = 2048
UNREACHED = (
    *("ConnectionError", "Couldn't reach", "OfflineModeIsEnabled", "LocalEntryNotFoundError"),
    *("MaxRetryError", "Couldn't find", "DatasetNotFoundError", "Name or service not known"),
)
ASKING = "Requesting API"
"""Its progress bar: from there on all data is there, and a lost connection is the server's."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """How it is to be run. `include` holds task files of the user's own; `positions` is the longest
    sequence that the server takes: longer ones lose their beginning."""

    tokenizer: Path
    items: int
    seed: int
    include: Path | None = None
    positions: int = POSITIONS


def python_for(say: Say) -> Path:
    """The harness's interpreter, its environment made first where that is missing."""
    return python_with(NAME, WANTED, folder(), say)


def folder() -> Path:
    """Where its environment is."""
    return folder_for("tools", WANTED[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What will be run: the harness's interpreter, and the tasks that the names stand for."""

    python: Path
    tasks: tuple[str, ...]


def ready(names: Sequence[str], asked: Asked, how: Harness, say: Say) -> Ready:
    """Its environment, made where it is missing, and tasks that this server can be asked.

    `UnknownName`; `UnsupportedPair` for likelihood tasks at a server without an echo;
    `NotAvailable` where the environment cannot be made.
    """
    python = python_for(say)
    tasks = expanded(python, names, how.include)
    refuse_likelihood(tasks, asked)
    return Ready(python=python, tasks=tuple(tasks))


def documents(plan: Ready, asked: Asked, how: Harness, say: Say) -> list[Document]:
    """One a task, with its items.

    `NotAvailable` where a task's data cannot be had, `RunFailed` with the harness's last lines.
    """
    work = Path(tempfile.mkdtemp(prefix="quantswarm-lm-eval-"))
    log = work / "lm_eval.log"
    say(f"{NAME}: {', '.join(plan.tasks)}, up to {how.items} items each; log: {log}")
    code = _ran(argv(plan, asked, how, work), environment(asked), log)
    if code != 0:
        raise failure(plan.tasks, code, log)
    results, found = results_in(work)
    shutil.rmtree(work, ignore_errors=True)
    about = {"harness": f"lm_eval {results.get('lm_eval_version') or 'of unknown version'}"}
    return [document(task, LM_EVAL, some, **about) for task, some in sorted(found.items())]


def expanded(python: Path, names: Sequence[str], include: Path | None) -> Mapping[str, str | None]:
    """The tasks that the names stand for, and how each is scored; nothing is downloaded."""
    if include is not None and not include.is_dir():
        raise UserMistake(
            f"--include-path {include}", "no such folder", next_step="a folder of task files"
        )
    told = json.dumps({"names": list(names), "include": include and str(include.resolve())})
    done = subprocess.run(
        [python, "-I", lm_eval_names.__file__, told], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RunFailed(
            f"tasks of {NAME}", "it cannot list them", evidence=done.stderr.strip()[-1500:]
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for name, near in found["unknown"].items():
        raise UnknownName(
            "task", name, near, next_step="a task of the harness, or --include-path for your own"
        )
    tasks: dict[str, str | None] = found["tasks"]
    return tasks


def refuse_likelihood(tasks: Mapping[str, str | None], asked: Asked) -> None:
    """`UnsupportedPair` where a task compares likelihoods and the server has no echo."""
    unable = [name for name, kind in tasks.items() if kind != GENERATES]
    if asked.dialect == ECHO or not unable:
        return
    raise UnsupportedPair(
        f"tasks {', '.join(unable)} at {asked.base_url}",
        "they compare log-probabilities of given texts, and this server does not echo its prompt: "
        "scored through it, every answer would be a guess",
        evidence=f"Tasks it can be asked: those whose output_type is {GENERATES}, such as gsm8k.",
        next_step="leave them out, or serve the weights with an engine that echoes (vllm)",
    )


def argv(plan: Ready, asked: Asked, how: Harness, work: Path) -> tuple[str, ...]:
    """The command; pure. The model's arguments are JSON, as paths may hold commas."""
    at = how.tokenizer if how.tokenizer.suffix != ".json" else how.tokenizer.parent
    model = {
        "model": asked.served_name,
        "base_url": f"{asked.base_url.rstrip('/')}/completions",
        "tokenizer": str(at.resolve()),
        "tokenizer_backend": "huggingface",
        "tokenized_requests": True,
        "num_concurrent": AT_ONCE,
        "max_length": how.positions,
        "timeout": 600,
    }
    return (
        *(str(plan.python), "-m", "lm_eval", "run", "--model", "local-completions"),
        *("--model_args", json.dumps(model), "--tasks", ",".join(plan.tasks)),
        *("--limit", str(how.items), "--seed", str(how.seed), "--batch_size", "1"),
        *("--output_path", str(work), "--log_samples"),
        *(() if how.include is None else ("--include_path", str(how.include.resolve()))),
    )


def environment(asked: Asked) -> dict[str, str]:
    """What is added for the child: the key goes where no process list shows it."""
    key = "none" if asked.api_key_file is None else key_in(asked.api_key_file)
    return {"OPENAI_API_KEY": key, "TOKENIZERS_PARALLELISM": "false", "NO_COLOR": "1"}


def _ran(words: Sequence[str], added: Mapping[str, str], log: Path) -> int:
    """Run to its end; nothing of it is left, whatever ends us."""
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with log.open("wb") as sink:
        process = subprocess.Popen(
            words,
            env={**without, **added},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def failure(names: Sequence[str], code: int, log: Path) -> RunFailed | NotAvailable:
    """The error for a harness that did not end well: data that cannot be had, else its words."""
    text = log.read_text(encoding="utf-8", errors="replace")
    about, end = f"tasks {', '.join(names)}", f"The end of {log}:\n{tail(log)}"
    if ASKING not in text and any(sign in text for sign in UNREACHED):
        return NotAvailable(
            about,
            "the data of one of them can neither be fetched nor found in the cache",
            evidence=end,
            next_step="give this machine a way to the hub (or HF_ENDPOINT, HF_HOME with the data), "
            "or use the generated tasks, which need none",
        )
    return RunFailed(about, f"{NAME} ended with status {code}", evidence=end)
