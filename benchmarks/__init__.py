"""Measurements of max-whisper beside its references: the demo, the benchmark and the layer-by-layer parity report."""
