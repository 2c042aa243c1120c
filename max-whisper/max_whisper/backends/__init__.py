"""Who computes features and logits: PyTorch, MAX, or one each."""

BACKENDS = ("max", "hybrid", "torch")
COMPUTE_TYPES = ("auto", "float32", "bfloat16", "int8")
