"""Measurements of max-whisper: its backends beside each other, and beside other programs."""
