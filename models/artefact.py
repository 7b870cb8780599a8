"""What passes from `models` to `engines`: where a model comes from, and what is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantswarm.models.errors import UnsupportedPair

if TYPE_CHECKING:
    from quantswarm.models.quantized import Quantized


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """An original model on disk, before any recipe.

    `folder` is a Hugging Face folder (config.json, *.safetensors, tokenizer.json) or None when only
    a ready `.gguf` file is at hand. `fingerprint` changes whenever the weights do. `quantized` is
    set where the weights come quantized: then they are served as they are, or not at all.
    """

    name: str
    folder: Path | None
    gguf: Path | None
    tokenizer: Path | None
    context_tokens: int
    parameters: int
    random_weights: bool
    fingerprint: str
    quantized: Quantized | None = None

    def original(self, asked: str) -> Path:
        """The folder; `UnsupportedPair` where there is none to make `asked` from."""
        if self.folder is None:
            raise UnsupportedPair(
                asked,
                "the model is a GGUF file, and weights are not converted back from GGUF",
                next_step="give the model's original folder, or choose a GGUF quantization",
            )
        return self.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """Weights in the form an engine loads: a folder (safetensors) or one file (GGUF), sealed.

    `weights_bytes` is the size of the weight files on disk; `sha256` covers their content.
    """

    path: Path
    format: str
    model: str
    quant: str
    weights_bytes: int
    sha256: str
    tokenizer: Path | None
    context_tokens: int
    random_weights: bool
