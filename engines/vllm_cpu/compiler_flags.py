"""Instruction sets that set-up's compiler was shown to build for, so that no start asks it again.

Before torch.compile writes its first C++ kernel, PyTorch compiles and loads a small library for
each instruction set of the processor: 10 to 15 s of every start of vLLM. Our own library was
compiled with the same flags, by the same compiler, and is loaded in the same process.
"""

from __future__ import annotations

import functools
import os
import subprocess
from typing import Any

from quantswarm.engines.vllm_cpu import build


def install(compiler: str) -> None:
    """Answer for the flags of our library; `compiler` is what its seal says it was compiled by."""
    from torch._inductor import cpu_vec_isa

    original = cpu_vec_isa.VecISA.check_build
    if hasattr(original, "__wrapped__") or not _same(compiler):
        return
    proven = build.flags()

    @functools.wraps(original)
    def check_build(self: Any, code: str) -> bool:
        return wanted(self.build_arch_flags()) <= proven or original(self, code)

    cpu_vec_isa.VecISA.check_build = check_build  # type: ignore[method-assign]  # there is no hook


def wanted(flags: str) -> set[str]:
    """The instruction sets among a compiler's flags."""
    return {flag for flag in flags.split() if flag.startswith("-m")}


def _same(compiler: str) -> bool:
    """Whether PyTorch will call the same one, be it as `c++` or as `g++`: by its version."""
    program = os.environ.get("CXX") or "g++"
    try:
        said = subprocess.run((program, "--version"), capture_output=True, text=True, check=False)
    except OSError:
        return False
    return said.stdout.partition("\n")[0].split()[1:] == compiler.split()[1:] != []
