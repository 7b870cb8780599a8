"""Items asked of a served model: by the log-probabilities of its echo, or by what it generates."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from quantswarm.bench.quality.tasks.item import CHOICE, Ids, Item, Outcome
from quantswarm.bench.quality.tasks.scoring import Scorer, Tail, outcomes
from quantswarm.bench.verify.answers import Answer
from quantswarm.bench.verify.asking import Asked, answers
from quantswarm.bench.verify.plan import Plan
from quantswarm.models.errors import RunFailed, UnsupportedPair

AT_ONCE = 4
"""Requests under way together: speed is not measured here, and numbers should not vary by batch."""
ALTERNATIVES = 2
"""Likeliest tokens told at each place: some servers count the token itself among them."""
ECHO = "echo"


class EchoScorer:
    """A `Scorer`: the server scores the prompt that it was sent, token by token."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def tails(self, sequences: Sequence[tuple[Ids, Ids]]) -> list[Tail]:
        """`RunFailed` where the server does not score each token of an option."""
        whole = [context + option for context, option in sequences]
        told = _told(self._asked, whole, output_tokens=0)
        return [
            _tail(answer, len(context))
            for answer, (context, _) in zip(told, sequences, strict=True)
        ]


def outcomes_at(items: Sequence[Item], asked: Asked, scorer: Scorer | None = None) -> list[Outcome]:
    """Of each item, by the best way that there is: `scorer` where one is given, the server's echo,
    else its greedy answers. `UnsupportedPair` for a choice that cannot be scored."""
    if scorer is None and asked.dialect == ECHO:
        scorer = EchoScorer(asked)
    if scorer is not None:
        return outcomes(items, scorer)
    return _generated(items, asked)


def refuse_unscored(task: str, asked: Asked) -> None:
    """`UnsupportedPair` for a task that needs log-probabilities of text the server is given."""
    if asked.dialect == ECHO or task != CHOICE:
        return
    raise UnsupportedPair(
        f"task {task} at {asked.base_url}",
        "it compares log-probabilities of given texts, and this server tells only those of what "
        "it generates itself: scored through it, every choice would be a guess",
        evidence="Tasks that it can be asked: those that generate, such as code-completion.",
        next_step="leave the task out, or serve the weights with an engine that echoes (vllm)",
    )


def _generated(items: Sequence[Item], asked: Asked) -> list[Outcome]:
    """Greedy decoding gives the expected tokens exactly where each is the likeliest."""
    for item in items:
        refuse_unscored(item.task, asked)
    found = []
    by_length = sorted({len(item.options[0].ids) for item in items})
    answered: dict[str, Answer] = {}
    for tokens in by_length:
        some = [item for item in items if len(item.options[0].ids) == tokens]
        told = _told(asked, [item.context.ids for item in some], output_tokens=tokens)
        answered |= {item.id: answer for item, answer in zip(some, told, strict=True)}
    for item in items:
        made = answered[item.id].ids[len(item.context.ids) :]
        found.append(Outcome(id=item.id, right=made == item.options[0].ids, score=None))
    return found


def _told(asked: Asked, prompts: Sequence[Ids], *, output_tokens: int) -> list[Answer]:
    plan = Plan(output_tokens=output_tokens, top=ALTERNATIVES)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = [pool.submit(answers, asked, [prompt], plan) for prompt in prompts]
        try:
            return [one.result()[0] for one in waiting]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _tail(answer: Answer, begin: int) -> Tail:
    """What the server says of the prompt's tokens from `begin` on."""
    places = range(begin, answer.prompt_tokens)
    missing = [at for at in places if at not in answer.scored]
    if missing:
        raise RunFailed(
            "log-probabilities of a prompt",
            f"none for token {missing[0]} of {answer.prompt_tokens}",
            next_step="read the server's log",
        )
    own = [answer.scored[at][answer.ids[at]] for at in places]
    best = [max(answer.scored[at].values()) for at in places]
    return Tail(
        logprobs=tuple(own),
        likeliest=tuple(mine >= most for mine, most in zip(own, best, strict=True)),
    )
