"""Who computes features and logits: PyTorch, MAX, or one each."""
