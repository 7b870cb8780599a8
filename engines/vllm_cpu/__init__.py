"""Compiled kernels for quantized weights on CPUs, and the vLLM plugin that serves with them."""
