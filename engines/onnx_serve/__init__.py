"""OpenAI's API over onnxruntime-genai, which has a generation loop and no server of its own."""
