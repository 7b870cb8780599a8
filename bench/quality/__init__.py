"""What quantization costs in quality: a served variant against the unquantized reference."""
