"""What runs in the process of `transformers serve`: its own classes, and what they lack."""
