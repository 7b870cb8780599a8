"""Generation for the handlers of `transformers serve`: its managers, with counted pieces.

Its streams say how many tokens came only at their end, tell no log-probabilities, and put an error
into JSON unescaped; its managers let any prompt in. Each request has a manager of its own here,
which shares the inference thread (or the continuous batch) with all others.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

import torch
from fastapi import HTTPException
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.cli.serving.utils import (
    CBGenerateManager,
    CBStreamer,
    DirectStreamer,
    GenerateManager,
    _GenerationCancelled,
    _StreamError,
)

from quantswarm.engines.transformers_serve.asked import Refused, Wish, room
from quantswarm.engines.transformers_serve.told import Scored

NO_TOKEN = -1
"""An end token that is never generated."""


class Piece(str):
    """Text of one event: `tokens` have come so far, `scored` are those of this piece."""

    __slots__ = ("scored", "tokens")
    tokens: int
    scored: tuple[Scored, ...]


def piece(text: str, tokens: int, scored: tuple[Scored, ...] = ()) -> Piece:
    """A `Piece`."""
    made = Piece(text)
    made.tokens, made.scored = tokens, scored
    return made


class Distribution(LogitsProcessor):  # type: ignore[misc]  # transformers is not analysed
    """Keeps what the next token is drawn from, and changes nothing."""

    def __init__(self, top: int) -> None:
        self._top = top
        self._row = torch.empty(0)

    def __call__(self, _ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self._row = torch.log_softmax(scores[0].float(), dim=-1)
        return scores

    def of(self, token: int) -> Scored:
        """The token that was drawn, and the likeliest ones."""
        return scored_at(self._row, token, self._top)


def scored_at(row: torch.Tensor, token: int, top: int) -> Scored:
    """From one row [vocabulary] of log-probabilities."""
    values, ids = row.topk(min(top, len(row)))
    return Scored(
        token=token,
        logprob=float(row[token]),
        top=tuple(zip(ids.tolist(), values.tolist(), strict=True)),
    )


def prompt_scored(model: Any, ids: list[int], top: int) -> list[Scored]:
    """Each token of a prompt given all before it."""
    with torch.inference_mode():
        logits = model(torch.tensor([ids], device=model.device), use_cache=False).logits[0]
        rows = torch.log_softmax(logits[:-1].float(), dim=-1).cpu()
    after = [scored_at(row, token, top) for row, token in zip(rows, ids[1:], strict=True)]
    return [Scored(token=ids[0], logprob=None), *after]


class CountedStreamer(DirectStreamer):  # type: ignore[misc]  # transformers is not analysed
    """Pieces with their count; it also keeps the ids, and what was told of each."""

    def __init__(self, *args: Any, watched: Distribution | None, **named: Any) -> None:
        self.ids: list[int] = []
        self.scored: list[Scored] = []
        self._watched = watched
        self._told = 0
        super().__init__(*args, **named)

    def put(self, value: torch.Tensor) -> None:
        if not self._first:
            self.ids += value.tolist()
            if self._watched is not None:
                self.scored += map(self._watched.of, value.tolist())
        super().put(value)

    def _enqueue(self, item: Any) -> None:
        if type(item) is str:
            fresh, self._told = tuple(self.scored[self._told :]), len(self.scored)
            item = piece(item, self.total_tokens, fresh)
        super()._enqueue(item)

    @property
    def cancelled(self) -> bool:
        """Whether the client has gone."""
        return bool(self._cancelled.is_set())


class TogetherStreamer(CBStreamer):  # type: ignore[misc]  # transformers is not analysed
    """The same for a request of a continuous batch."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self.ids: list[int] = []
        super().__init__(*args, **named)

    def put(self, output: Any) -> None:
        self.ids = list(output.generated_tokens)
        super().put(output)


class CountedQueue(asyncio.Queue[Any]):
    """For a streamer that puts texts by itself, on the loop's thread, and counts before it does."""

    streamer: Any = None

    def put_nowait(self, item: Any) -> None:
        if type(item) is str and self.streamer is not None:
            item = piece(item, self.streamer.total_tokens)
        super().put_nowait(item)


def failed(message: str) -> Any:
    """Its handlers put the message between quotes as it is."""
    return _StreamError(json.dumps(message)[1:-1])


def prompt_tokens(inputs: Any) -> int:
    """Of ids in a tensor [1, tokens], or in a list."""
    ids = inputs["input_ids"]
    return len(ids) if isinstance(ids, list) else int(ids.shape[-1])


class _Request:
    """What both managers do for one request."""

    context_tokens: int
    wish: Wish
    scored: list[Scored]
    generate_streaming: Callable[..., tuple[asyncio.Queue[Any], Any]]

    def of(self, wish: Wish) -> Any:
        """A manager for one request."""
        own = copy.copy(self)
        own.wish, own.scored = wish, []
        return own

    def fit(self, inputs: Any, config: Any) -> None:
        """Set the answer's length; `HTTPException` where it has no room."""
        count = prompt_tokens(inputs)
        try:
            config.max_new_tokens = room(self.wish, count, self.context_tokens)
        except Refused as refused:
            raise HTTPException(refused.status, refused.message) from None

    async def generate_non_streaming(
        self, model: Any, processor: Any, inputs: Any, gen_config: Any, request_id: str
    ) -> tuple[str, int, list[int]]:
        """A stream that nobody watches: (text, prompt tokens, ids of the answer)."""
        queue, streamer = self.generate_streaming(model, processor, inputs, gen_config, request_id)
        return await self._whole(queue), prompt_tokens(inputs), streamer.ids

    async def _whole(self, queue: asyncio.Queue[Any]) -> str:
        text = ""
        while (item := await queue.get()) is not None:
            problem = getattr(item, "msg", None)
            if problem is not None:
                raise RuntimeError(problem)
            text += item
        return text


class OneByOne(_Request, GenerateManager):  # type: ignore[misc]  # transformers is not analysed
    """`model.generate` on one thread, for one request after another."""

    def __init__(self, context_tokens: int) -> None:
        super().__init__()
        self.context_tokens = context_tokens

    def generate_streaming(
        self,
        model: Any,
        processor: Any,
        inputs: Any,
        gen_config: Any,
        request_id: str,
        response_parser: Any = None,
    ) -> tuple[asyncio.Queue[Any], CountedStreamer]:
        self.fit(inputs, gen_config)
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        watched = Distribution(self.wish.top) if self.wish.top is not None else None
        streamer = CountedStreamer(
            processor.backend_tokenizer,
            loop,
            queue,
            response_parser=response_parser,
            watched=watched,
        )
        self.scored = streamer.scored

        def run() -> None:
            if streamer.cancelled:
                return
            try:
                model.generate(
                    **inputs,
                    streamer=streamer,
                    generation_config=gen_config,
                    tokenizer=processor,
                    logits_processor=LogitsProcessorList([watched] if watched else []),
                )
            except _GenerationCancelled:
                loop.call_soon_threadsafe(queue.put_nowait, None)
            except Exception as error:  # the stream must end, whatever went wrong
                loop.call_soon_threadsafe(queue.put_nowait, failed(str(error)))

        self.submit(run)
        return queue, streamer


class Together(_Request, CBGenerateManager):  # type: ignore[misc]  # transformers is not analysed
    """Continuous batching; greedy, as one configuration holds for all requests."""

    def __init__(self, context_tokens: int, cb_config: Any) -> None:
        super().__init__(cb_config=cb_config)
        self.context_tokens = context_tokens

    def generate_streaming(
        self,
        model: Any,
        processor: Any,
        inputs: Any,
        gen_config: Any,
        request_id: str,
        response_parser: Any = None,
    ) -> tuple[asyncio.Queue[Any], TogetherStreamer]:
        self.fit(inputs, gen_config)
        self._check_alive(request_id)
        queue = CountedQueue()
        streamer = TogetherStreamer(
            self._cb,
            request_id,
            processor.backend_tokenizer,
            asyncio.get_running_loop(),
            queue,
            response_parser=response_parser,
        )
        queue.streamer = streamer

        def on_output(output: Any) -> None:
            streamer.put(output)
            if output.error is not None:
                queue.put_nowait(failed(output.error))
            elif output.is_finished():
                streamer.end()

        self._cb.register_result_handler(request_id, on_output)
        self._cb.add_request(
            list(inputs["input_ids"]),
            request_id=request_id,
            streaming=True,
            max_new_tokens=gen_config.max_new_tokens,
            eos_token_id=gen_config.eos_token_id,
        )
        return queue, streamer
