"""How the embedded model `tiny` was made: corpus, tokenizer, network, training loop.

Rebuild it with `make tiny`, or `python -m quantswarm.models.train.run --out DIR`.
"""
