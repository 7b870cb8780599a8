"""ONNX folders made by onnxruntime-genai's own builder, in a process of its own, and checked."""
