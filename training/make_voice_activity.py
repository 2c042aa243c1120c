"""Write the weights of voice activity, `silero_vad.safetensors`, from the package silero-vad.

    python -m training.make_voice_activity

The package's `silero_vad.jit` holds two networks, for 16 kHz and for 8 kHz. The first one's tensors are written as they
are, in float32, under their names without the prefix `_model.`; `max_whisper.audio.vad.network` computes with them.
The package's `silero_vad_16k.safetensors` holds other weights, whose probabilities differ by up to 0.4.
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save

ASSETS = Path(__file__).resolve().parent.parent / "max-whisper/max_whisper/assets"
NAME = "silero_vad.safetensors"
_PREFIX = "_model."  # `_model_8k.` is the other network


def weights_file() -> bytes:
    """The content of the file: the weights of the installed silero-vad, and its version."""
    import silero_vad

    network = torch.jit.load(Path(silero_vad.__file__).parent / "data" / "silero_vad.jit", map_location="cpu")
    tensors = {
        name.removeprefix(_PREFIX): tensor.float().contiguous()
        for name, tensor in network.state_dict().items()
        if name.startswith(_PREFIX)
    }
    return save(tensors, {"source": f"silero-vad {version('silero-vad')}"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ASSETS / NAME, help="the file to write")
    out: Path = parser.parse_args().out
    content = weights_file()
    out.write_bytes(content)
    print(f"{out}: {len(content)} bytes")


if __name__ == "__main__":
    main()
