"""The requests: one after another, as nothing here is measured but numbers."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quantswarm.bench.load.link import endpoint_of
from quantswarm.bench.verify.answers import DIALECTS, Answer
from quantswarm.bench.verify.plan import Plan
from quantswarm.engines.process import key_in
from quantswarm.models.errors import RunFailed

TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A server that can be asked: its base URL with /v1, its model id, and how it is spoken to."""

    base_url: str
    served_name: str
    dialect: str
    api_key_file: Path | None = None


def answers(asked: Asked, prompts: Sequence[tuple[int, ...]], plan: Plan) -> list[Answer]:
    """One answer a prompt; `RunFailed` with the server's words when it gives none."""
    dialect = DIALECTS[asked.dialect]
    found = []
    for ids in prompts:
        body = {"model": asked.served_name, **dialect.body(ids, plan.output_tokens, plan.top)}
        told = _post(asked, dialect.path, body)
        try:
            found.append(dialect.read(ids, told))
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise _failed(asked, f"an answer without log-probabilities ({error!r})", told) from None
    return found


def _post(asked: Asked, path: str, body: dict[str, Any]) -> dict[str, Any]:
    end = endpoint_of(asked.base_url)
    headers = {"Content-Type": "application/json", "Connection": "close"}
    if asked.api_key_file is not None:
        headers["Authorization"] = f"Bearer {key_in(asked.api_key_file)}"
    kind = http.client.HTTPSConnection if end.tls else http.client.HTTPConnection
    connection = kind(end.hostname, end.port, timeout=TIMEOUT_S)
    try:
        where = f"{end.path.removesuffix('/v1')}{path}"
        connection.request("POST", where, json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        raise _failed(asked, f"no answer ({type(error).__name__}: {error})", "") from None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise _failed(asked, f"HTTP {answer.status}", text)
    found = json.loads(text)
    if not isinstance(found, dict):
        raise _failed(asked, "an answer that is no JSON object", text)
    return found


def _failed(asked: Asked, found: str, evidence: object) -> RunFailed:
    return RunFailed(
        f"log-probabilities of {asked.served_name} at {asked.base_url}",
        found,
        evidence=str(evidence)[:500],
        next_step="read the server's log; --engine says what kind of server it is",
    )
