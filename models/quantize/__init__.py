"""Quantized checkpoints made here on a CPU: a library's algorithm in a process of its own, checked."""
