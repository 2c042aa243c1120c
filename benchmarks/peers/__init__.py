"""Speed and memory beside other Whisper programs, on one checkpoint that is converted for each.

`make benchmark-peers` installs them and runs `python -m benchmarks.peers`.
"""
