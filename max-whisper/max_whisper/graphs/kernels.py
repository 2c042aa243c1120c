"""Where the Mojo operations are that graphs call."""

from pathlib import Path

KERNELS = Path(__file__).parents[1] / "kernels"
"""The folder of Mojo operations that the graphs call."""
