"""Does the served artefact's own tokenizer give the ids that were scored?

Ids are sent, so a wrong tokenizer does not show in any score; it shows in every text served.
"""

from __future__ import annotations

from pathlib import Path

from quantswarm.bench.quality.corpus import Encoded, token_ids
from quantswarm.bench.quality.warned import Warned, warned
from quantswarm.models.artefact import Artefact


def remarks(artefact: Artefact, encoded: Encoded) -> list[Warned]:
    """A warning where ids differ, or where the tokenizer could not be asked."""
    found = _ids(artefact, encoded.text)
    if found is None:
        return [
            warned(
                "tokenizer-unchecked",
                f"the tokenizer of {artefact.path.name} could not be asked",
                "it has no tokenizer.json, or llama-cpp-python is missing",
                "the scores stand; check that served text is what it should be",
            )
        ]
    if found == encoded.ids:
        return []
    place = next(
        (at for at, (own, one) in enumerate(zip(found, encoded.ids, strict=False)) if own != one),
        min(len(found), len(encoded.ids)),
    )
    return [
        warned(
            "other-token-ids",
            f"the artefact's tokenizer gives {len(found):,} ids for the text, the reference's"
            f" {len(encoded.ids):,}; they part at token {place:,}",
            "the conversion wrote another tokenizer, or another way to cut text",
            "the scores stand, as ids were sent; text that is served goes through the other one",
        )
    ]


def _ids(artefact: Artefact, text: str) -> tuple[int, ...] | None:
    if artefact.format == "gguf":
        return _by_llama_cpp(artefact.path, text)
    file = artefact.path / "tokenizer.json"
    return token_ids(text, file).ids if file.is_file() else None


def _by_llama_cpp(path: Path, text: str) -> tuple[int, ...] | None:
    from quantswarm.models.gguf_check import llama_cpp_ids

    found = llama_cpp_ids(path, (text,))
    return None if found is None else tuple(found[0])
