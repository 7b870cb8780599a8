"""Quantized checkpoints made on a CPU: a library's algorithm in a process of its own, checked."""
