"""`max-whisper compile`: the graphs of models into the cache, ahead of their use."""

from __future__ import annotations

import time

from max_whisper.checks import did_you_mean
from max_whisper.cli.arguments import WrongOptionError
from max_whisper.cli.console import ConsoleProgress, file_size
from max_whisper.cli.recordings import FileErrors
from max_whisper.options.loading import default_model


def compile_ahead(models: list[str], device: str, compute_type: str, debug: bool) -> int:
    """Compile each model in each type, and print where it is; returns the exit status."""
    from max_whisper.backends import COMPUTE_TYPES
    from max_whisper.transcriber import compile_model

    types = compute_type.split(",")
    for name in types:
        if name not in COMPUTE_TYPES:
            hint = did_you_mean(name, COMPUTE_TYPES)
            raise WrongOptionError(
                f"compute_type: one or several of {', '.join(COMPUTE_TYPES)}, got {name!r}"
                + (f"; {hint}" if hint else "")
            )
    with ConsoleProgress() as console:
        errors = FileErrors(console, debug)
        for model in models or [default_model()]:
            for name in types:
                with errors.reported():
                    start = time.perf_counter()
                    path = compile_model(model, device=device, compute_type=name, progress=console)
                    console.clear()
                    size, seconds = file_size(path.stat().st_size), time.perf_counter() - start
                    console.text(f"{model}, {name}: {size} in {seconds:.0f} s, {path}")
    return errors.status
