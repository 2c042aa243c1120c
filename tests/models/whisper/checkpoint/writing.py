"""Hugging Face folders as older versions of transformers wrote them."""

import json
from pathlib import Path

import torch


def write_bin(folder: Path, tensors: dict[str, torch.Tensor], shards: int, archive: bool = True) -> None:
    """`pytorch_model.bin` in one file or in shards with their index."""
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=archive)
        return
    files = [f"pytorch_model-{number + 1:05}-of-{shards:05}.bin" for number in range(shards)]
    weight_map = {name: files[number % shards] for number, name in enumerate(tensors)}
    for file in files:
        part = {name: tensor for name, tensor in tensors.items() if weight_map[name] == file}
        torch.save(part, folder / file, _use_new_zipfile_serialization=archive)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
