"""An independent float32 forward pass of Llama-like models: the numbers that engines are held to.

NumPy alone: no engine, no PyTorch. Weights come from safetensors or GGUF, layer by layer.
"""
