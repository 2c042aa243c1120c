"""`max-whisper models`: the known names, which of them are here, and what the cache holds."""

from __future__ import annotations

from typing import Any

from max_whisper.cli.console import file_size


def models(**_: Any) -> int:
    """Print the models; returns the exit status."""
    from max_whisper.backends.factory import known_models
    from max_whisper.runtime.cache_folder import cache_dir

    print(f"{'model':<16}{'layers':>8}{'width':>7}  {'languages':<10}  here")
    for model in known_models():
        dims = model.dims
        if dims is None:
            print(f"{model.name:<16}{'':>8}{'':>7}  {'English':<10}  bundled: works with no network")
            continue
        state = f"yes, {file_size(model.file.stat().st_size)}" if model.file else "no, downloaded when used"
        layers = f"{dims.n_audio_layer}+{dims.n_text_layer}"
        languages = str(dims.num_languages) if dims.is_multilingual else "English"
        print(f"{model.name:<16}{layers:>8}{dims.n_audio_state:>7}  {languages:<10}  {state}")
    print("\nAlso: a .pt file, a Hugging Face folder, or a repository id such as openai/whisper-tiny.")
    print(f"\ncache folder: {cache_dir()} (MAX_WHISPER_CACHE moves it)")
    for path in sorted(cache_dir().iterdir()) if cache_dir().is_dir() else []:
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        size = file_size(sum(file.stat().st_size for file in files))
        print(f"  {path.name:<14}{size:>9} in {len(files)} file{'s' if len(files) != 1 else ''}")
    return 0
