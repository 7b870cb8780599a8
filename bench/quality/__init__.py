"""How much a quantization costs in quality: perplexity, KL divergence, agreement, tasks."""
