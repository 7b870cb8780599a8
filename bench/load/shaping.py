"""The JSON body of a request, and the whole of its bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from quantswarm.bench.load.http1 import request_bytes
from quantswarm.bench.load.link import Endpoint
from quantswarm.bench.load.plan import SwarmPlan
from quantswarm.bench.load.prompts import Prompt
from quantswarm.engines.process import key_in


def body_of(plan: SwarmPlan, prompt: str, output_tokens: int | None = None) -> dict[str, Any]:
    """OpenAI's fields for one greedy stream with usage, then the engine's pinned ones over them.

    `output_tokens` replaces the scenario's, in a pinned `min_tokens` too.
    """
    wanted = plan.scenario.output_tokens if output_tokens is None else output_tokens
    asked: dict[str, Any] = {
        "model": plan.served_name,
        "max_tokens": wanted,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if plan.scenario.api == "chat":
        asked["messages"] = [{"role": "user", "content": prompt}]
    else:
        asked["prompt"] = prompt
    body = _laid_over(asked, plan.pinned_fields)
    if output_tokens is not None and "min_tokens" in body:
        body["min_tokens"] = output_tokens
    return body


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
        self._target = endpoint.target(plan.scenario.api)

    def payload(self, prompt: Prompt, output_tokens: int | None = None) -> bytes:
        """Head and body of the request, ready for one `send`."""
        body = json.dumps(body_of(self._plan, prompt.text, output_tokens)).encode()
        return request_bytes(
            self._target,
            self._host,
            body,
            keep_alive=self._plan.keeps_alive,
            api_key=self._key,
            request_id=prompt.uid,
        )

    def expected_prompt_tokens(self, prompt: Prompt) -> int | None:
        """The server's count for this prompt; unknown where a chat template adds to it."""
        return prompt.tokens if self._plan.scenario.api == "completions" else None
