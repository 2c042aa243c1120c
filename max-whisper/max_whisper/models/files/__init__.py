"""The files that checkpoints come in, whatever their family: safetensors, PyTorch pickles, downloads."""
