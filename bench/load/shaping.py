"""The JSON body of a request, and the whole of its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from quantswarm.bench.load.http1 import request_bytes
from quantswarm.bench.load.link import Endpoint
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import Prompt
from quantswarm.engines.process import key_in
from quantswarm.engines.registry import engine_named


def body_of(
    plan: SwarmPlan,
    prompt: str,
    output_tokens: int | None = None,
    *,
    api: str | None = None,
    history: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """OpenAI's fields for one greedy stream with usage, then the engine's pinned ones over them.

    `output_tokens` and `api` are the scenario's where it has but one of each. `history` is what was
    said before in a conversation.
    """
    wanted = plan.scenario.output_tokens if output_tokens is None else output_tokens
    assert isinstance(wanted, int), (
        "a scenario with more than one length needs one for each request"
    )
    asked: dict[str, Any] = {
        "model": plan.served_name,
        "max_tokens": wanted,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if (api or plan.scenario.api) == "chat":
        asked["messages"] = [*history, {"role": "user", "content": prompt}]
    else:
        asked["prompt"] = prompt
    if plan.pinned_by is None:
        return asked
    return _laid_over(asked, engine_named(plan.pinned_by).pinned_fields(wanted))


def _laid_over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` wins; two objects of the same name are joined."""
    joined = dict(below)
    for key, value in above.items():
        known = joined.get(key)
        if isinstance(known, dict) and isinstance(value, Mapping):
            joined[key] = {**known, **value}
        else:
            joined[key] = value
    return joined


class Shaper:
    """Turns prompts into payloads for one plan; reads the key file once, at construction."""

    def __init__(self, plan: SwarmPlan, endpoint: Endpoint) -> None:
        self._key = key_in(plan.api_key_file) if plan.api_key_file is not None else None
        self._plan = plan
        self._host = endpoint.host
        self._endpoint = endpoint
        if plan.pinned_by is not None:
            engine_named(plan.pinned_by)  # its modules are loaded now, not in the first request

    def payload(
        self,
        prompt: Prompt,
        output_tokens: int | None = None,
        *,
        api: str | None = None,
        history: Sequence[Mapping[str, str]] = (),
    ) -> bytes:
        """Head and body of the request, ready for one `send`; see `body_of`."""
        body = body_of(self._plan, prompt.text, output_tokens, api=api, history=history)
        return request_bytes(
            self._endpoint.target(api or self._plan.scenario.api),
            self._host,
            json.dumps(body).encode(),
            keep_alive=self._plan.keeps_alive,
            api_key=self._key,
            request_id=prompt.uid,
        )

    def expected_prompt_tokens(self, prompt: Prompt, api: str | None = None) -> int | None:
        """The server's count for this prompt; unknown where a chat template adds to it."""
        return prompt.tokens if (api or self._plan.scenario.api) == "completions" else None
