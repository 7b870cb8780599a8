"""Lets PyTorch say that this processor has neither AVX-512 nor AMX, as soon as it is imported.

vLLM asks PyTorch in each of its processes, and chooses its libraries by the answers.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

ASKED = ("_is_avx512_supported", "_is_avx512_bf16_supported", "_is_amx_tile_supported")
_SUBJECT = "torch.cpu"


class _Capped(importlib.abc.Loader):
    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._real.exec_module(module)
        for name in ASKED:
            setattr(module, name, lambda: False)


class _Finder(importlib.abc.MetaPathFinder):
    """Steps aside once `torch.cpu` has been asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _SUBJECT:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Capped(spec.loader)
        return spec


sys.meta_path.insert(0, _Finder())
