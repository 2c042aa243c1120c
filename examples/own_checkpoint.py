"""Use a checkpoint of one's own: a `.pt` file in openai-whisper's layout, such as a training script saves.

    python examples/own_checkpoint.py [CHECKPOINT.pt]

Without an argument it makes one, once, in the cache folder: the bundled model's weights, saved as PyTorch tensors in
their own precision. A Hugging Face folder
(`config.json` and `model.safetensors`) is given to `load_model` in the same way.
"""

import sys
from pathlib import Path

import numpy as np
import torch

import max_whisper
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.runtime.cache_folder import cache_dir

SAMPLES = Path(__file__).resolve().parents[1] / "audio_samples"


def save_as_openai_does(path: Path) -> None:
    """Write the bundled model as openai-whisper's `{"dims", "model_state_dict"}`."""
    checkpoint = load_checkpoint("nano")
    weights = {name: torch.from_numpy(np.array(checkpoint.weights.stored(name))) for name in checkpoint.weights}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"dims": checkpoint.dims.to_dict(), "model_state_dict": weights}, path)


def main() -> None:
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
    else:
        path = cache_dir() / "examples" / "mine.pt"
        if not path.exists():
            save_as_openai_does(path)
    # The file is read where it lies, without PyTorch.
    model = max_whisper.load_model(path)
    print(f"{model.name}: {model.dims.n_audio_layer} encoder and {model.dims.n_text_layer} decoder layers")
    print(model.transcribe(SAMPLES / "weather.flac").text.strip())


if __name__ == "__main__":
    main()
