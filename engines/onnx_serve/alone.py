"""One job by the library's `Generator`, which shows the logits that each token was drawn from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from quantswarm.engines.onnx_serve.jobs import STOPPED, Job, Scored, Step
from quantswarm.engines.onnx_serve.model import Loaded
from quantswarm.engines.scoring_child import log_softmax

if TYPE_CHECKING:
    from quantswarm.models.dequantize import Floats


def generator(loaded: Loaded, ids: tuple[int, ...], most_tokens: int, **search: Any) -> Any:
    """A `Generator` that has read `ids`; all their logits are its output."""
    import numpy as np

    params = loaded.genai.GeneratorParams(loaded.model)
    params.set_search_options(max_length=len(ids) + max(1, most_tokens), **search)
    made = loaded.genai.Generator(loaded.model, params)
    made.append_tokens(np.array(ids, np.int32))
    return made


def steps(loaded: Loaded, job: Job, stopping: Callable[[], bool]) -> Iterator[Step]:
    """Every token with its scores; the prompt's own come with the first step."""
    made = generator(loaded, job.ids, job.most_tokens, **_search(job))
    first = _prompt_scores(made, job) if job.ask.echo else ()
    if job.most_tokens == 0:
        yield Step(reason="length", prompt=first)
        return
    for count in range(1, job.most_tokens + 1):
        if job.cancelled or stopping():
            yield STOPPED
            return
        row = None if job.ask.logprobs is None else made.get_logits()[0, 0].copy()
        made.generate_next_token()
        token = int(made.get_next_tokens()[0])
        scored = None if row is None else _scored(log_softmax(row), token, job.ask.logprobs or 0)
        if token in loaded.ends:
            yield Step(reason="stop", prompt=first)
            return
        reason = "length" if count == job.most_tokens else None
        yield Step(token=token, reason=reason, scored=scored, prompt=first)
        first = ()


def _search(job: Job) -> dict[str, Any]:
    ask = job.ask
    found: dict[str, Any] = {
        "do_sample": ask.temperature > 0,
        "repetition_penalty": ask.repetition_penalty,
        "min_length": len(job.ids) + job.least_tokens if job.least_tokens else 0,
    }
    if ask.temperature > 0:
        found |= {"temperature": ask.temperature, "top_p": ask.top_p, "top_k": ask.top_k}
        found["random_seed"] = -1 if ask.seed is None else ask.seed
    return found


def _prompt_scores(made: Any, job: Job) -> tuple[Scored, ...]:
    """Of each token of the prompt, given those before it; of the first nothing can be said."""
    first = Scored(token=job.ids[0], logprob=None, likeliest={})
    if job.ask.logprobs is None:
        rest = (Scored(token=token, logprob=None, likeliest={}) for token in job.ids[1:])
        return (first, *rest)
    rows = log_softmax(made.get_output("logits")[0][: len(job.ids) - 1])
    scores = (
        _scored(row, token, job.ask.logprobs) for row, token in zip(rows, job.ids[1:], strict=True)
    )
    return (first, *scores)


def _scored(row: Floats, token: int, most: int) -> Scored:
    """A row of log-probabilities, shortened to the likeliest `most` tokens."""
    import numpy as np

    best = np.argpartition(row, -most)[-most:] if most else np.array([], np.int64)
    ordered = best[np.argsort(-row[best], kind="stable")]
    likeliest = {int(at): float(row[at]) for at in ordered}
    return Scored(token=token, logprob=float(row[token]), likeliest=likeliest)
