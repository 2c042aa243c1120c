"""Where the time of the encoder and of a decoder step goes, and how near the machine's rates they are.

    python -m benchmarks.profile --model tiny --page docs/benchmarks.md

The fused operations do many layers at once, so parts are told apart by their sizes. Of the encoder's blocks attention
grows with the square of the positions and all else with their number. Of a decoder step cross-attention goes with the
positions of the audio, and the vocabulary is what is left without layers. All are medians, taken in turn.

The machine's rates are PyTorch's: the product of two large bfloat16 matrices, and the sum of a vector that no cache
holds. Products of int8 can be twice as fast.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession, Model
from max.graph import BufferType, DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from max_whisper.checkpoint import load_checkpoint
from max_whisper.cpu import cpu_instructions
from max_whisper.dimensions import ModelDimensions
from max_whisper.graphs import fused, packaged_kernels
from max_whisper.graphs.packing import COMPUTE_TYPES, Packing, decoder_block, encoder_block, packed_arrays
from max_whisper.packed_weights import packed_weights
from max_whisper.progress import silent

from .machine import machine
from .page_part import markdown_table, write_own_part
from .random_models import random_checkpoint

FEW = 32  # positions of audio, where there are to be next to none


@dataclass(frozen=True)
class Part:
    """A part of the encoder or of a decoder step."""

    title: str
    milliseconds: float
    operations: float = 0.0  # multiplications and additions
    weights: float = 0.0  # bytes that are read, with keys and values

    def row(self, whole: float) -> list[str]:
        """Its line of a table, beside the time of the whole."""
        rates = [
            f"{value / self.milliseconds / 1e6:,.0f}" if value and self.milliseconds > 0 else ""
            for value in (self.operations, self.weights)
        ]
        return [self.title, f"{self.milliseconds:.2f}", f"{self.milliseconds / whole:.0%}", *rates]


ENCODER = ("encoder.blocks", "encoder.offsets", "encoder.ln_post")
DECODER = ("decoder.blocks", "decoder.offsets", "decoder.embedding", "decoder.positional_embedding")


class Profile:
    """A model's operations, compiled apart."""

    def __init__(self, name: str, compute_type: str) -> None:
        checkpoint = load_checkpoint(str(random_checkpoint(name)))
        self._dims: ModelDimensions = checkpoint.dims
        instructions = cpu_instructions()
        self._packing = Packing.of(compute_type, is_float16=checkpoint.is_float16, has_amx=instructions == "amx")
        self._weights = packed_weights(checkpoint, self._packing, silent)
        self._models = self._compile(instructions)

    def _compile(self, instructions: str) -> dict[str, Model]:
        dims, packing, cpu = self._dims, self._packing, DeviceRef.CPU()
        module = GraphModule()
        arrays = packed_arrays(dims, packing)
        open_shapes: dict[str, list[int | str]] = {name: list(array.shape) for name, array in arrays.items()}
        open_shapes["encoder.positional_embedding"][0] = "length"

        def tensor(dtype: DType, *shape: int | str) -> TensorType:
            return TensorType(dtype, list(shape), cpu)

        def weight(name: str) -> TensorType:
            return tensor(DType[arrays[name].dtype], *open_shapes[name])

        width = dims.n_audio_state
        x = tensor(DType.float32, 1, "length", width)
        parameters = {"instructions": instructions, "weight": fused.WEIGHTS[packing.windows]}
        reader = fused.reader(packing, instructions)

        def trace(name: str, operation: str, inputs: list[TensorType], result: TensorType, **given: object) -> None:
            with Graph(name, input_types=inputs, module=module, custom_extensions=[packaged_kernels()]) as graph:
                graph.output(*ops.custom(operation, cpu, list(graph.inputs), [result], {**parameters, **given}))

        mel = tensor(DType.float32, 1, dims.n_mels, "frames")
        trace(
            "convolutions",
            "encoder_convolutions",
            [mel, weight("encoder.convolutions"), weight("encoder.positional_embedding")],
            x,
            weight=fused.WEIGHTS[packing.convolutions],
        )
        n_blocks = tensor(DType.int64, 1)
        trace("blocks", "encoder_blocks", [x, n_blocks, *map(weight, ENCODER)], x, layout=encoder_block(width).names)
        cross = tensor(
            DType.uint8, 1, dims.n_text_layer, dims.n_text_head * fused.head_bytes(dims.n_audio_ctx, packing)
        )
        features = tensor(DType.float32, 1, dims.n_audio_ctx, width)
        trace("cross", "cross_keys_values", [features, weight("cross_attention")], cross, reader=reader)

        for audio in (dims.n_audio_ctx, FEW):
            input_types = [
                BufferType(DType.uint8, [1, dims.n_text_layer, "bytes"], cpu),
                *(tensor(DType[dtype], *shape) for dtype, shape in fused.STEP_INPUTS.values()),
                tensor(DType.uint8, "windows", dims.n_text_layer, dims.n_text_head * fused.head_bytes(audio, packing)),
                *map(weight, DECODER),
            ]
            step = {"instructions": reader, "weight": fused.WEIGHTS[packing.tokens], "audio": audio}
            step["layout"] = decoder_block(dims.n_text_state).names
            with Graph(
                f"step {audio}", input_types=input_types, module=module, custom_extensions=[packaged_kernels()]
            ) as graph:
                caches, *others = graph.inputs
                values = [caches.buffer, *(value.tensor for value in others)]
                logits = tensor(DType.float32, "windows", "beams", "positions", dims.n_vocab)
                graph.output(*ops.inplace_custom("decoder_step", cpu, values, [logits], step))
        return InferenceSession(devices=[CPU()]).load_all(module, custom_extensions=[packaged_kernels()])

    def measure(self, runs: int) -> tuple[list[Part], list[Part]]:
        """Parts of the encoder and of a decoder step."""
        dims = self._dims
        calls: dict[str, Callable[[], object]] = {"cross": self._cross(), "convolutions": self._convolutions()}
        length = dims.n_audio_ctx
        for positions in (length, length // 2):
            calls[f"blocks {positions}"] = self._blocks(positions)
        for audio, layers in ((length, dims.n_text_layer), (FEW, dims.n_text_layer), (length, 1)):
            calls[f"step {audio} {layers}"] = self._step(audio, layers)
        took = medians(calls, runs)
        sizes = {name: array.nbytes for name, array in self._weights.items()}
        sizes["keys and values"] = dims.n_text_layer * dims.n_text_head * fused.head_bytes(length, self._packing)
        return encoder_parts(dims, took), decoder_parts(dims, took, sizes)

    def _given(self, *names: str) -> list[Buffer]:
        return [Buffer.from_numpy(np.ascontiguousarray(self._weights[name])) for name in names]

    def _convolutions(self) -> Callable[[], object]:
        mel = Buffer.from_numpy(_random(1, self._dims.n_mels, 2 * self._dims.n_audio_ctx))
        given = self._given("encoder.convolutions", "encoder.positional_embedding")
        return lambda: self._models["convolutions"].execute(mel, *given)

    def _blocks(self, length: int) -> Callable[[], object]:
        x = Buffer.from_numpy(_random(1, length, self._dims.n_audio_state))
        n_blocks = Buffer.from_numpy(np.array([self._dims.n_audio_layer]))
        given = self._given(*ENCODER)
        return lambda: self._models["blocks"].execute(x, n_blocks, *given)

    def _cross(self) -> Callable[[], object]:
        features = Buffer.from_numpy(_random(1, self._dims.n_audio_ctx, self._dims.n_audio_state))
        given = self._given("cross_attention")
        return lambda: self._models["cross"].execute(features, *given)

    def _step(self, audio: int, layers: int) -> Callable[[], object]:
        dims, packing = self._dims, self._packing
        features = Buffer.from_numpy(_random(1, dims.n_audio_ctx, dims.n_audio_state))
        (keys,) = self._models["cross"].execute(features, *self._given("cross_attention"))
        size = dims.n_text_head * fused.head_bytes(audio, packing)
        cross = np.ascontiguousarray(keys.to_numpy()[:, :, :size])
        capacity = -(-dims.n_text_ctx // 32) * 32
        shape = (1, dims.n_text_layer, dims.n_text_head * fused.head_bytes(dims.n_text_ctx, packing))
        # Zeros are a token, its position, the first index, and nothing in the caches.
        sizes = {"windows": 1, "beams": 1, "length": 1, "positions": 1, "slots": 1, "capacity": capacity}
        inputs = {
            name: np.zeros([sizes.get(str(size), 1) for size in shape], dtype)
            for name, (dtype, shape) in fused.STEP_INPUTS.items()
        }
        inputs["n_blocks"][0] = layers
        given = [Buffer.from_numpy(array) for array in (np.zeros(shape, np.uint8), *inputs.values(), cross)]
        given += self._given(*DECODER)
        return lambda: self._models[f"step {audio}"].execute(*given)


def encoder_parts(dims: ModelDimensions, took: Mapping[str, float]) -> list[Part]:
    """What the encoder's time is made of, by milliseconds of `convolutions` and of `blocks N` at N positions."""
    length, width, layers = dims.n_audio_ctx, dims.n_audio_state, dims.n_audio_layer
    whole, half = took[f"blocks {length}"], took[f"blocks {length // 2}"]
    # whole = simple + squared, half = simple / 2 + squared / 4
    squared = 2 * whole - 4 * half
    return [
        Part("convolutions", took["convolutions"], 2 * 3 * width * length * (2 * dims.n_mels + width)),
        Part("blocks: attention", squared, layers * 4 * length**2 * width),
        Part("blocks: all else", whole - squared, layers * 24 * length * width**2),
    ]


def decoder_parts(dims: ModelDimensions, took: Mapping[str, float], sizes: Mapping[str, int]) -> list[Part]:
    """What a step's time is made of, by milliseconds of `step A L` with A positions of audio and L layers.

    sizes: bytes of the packed weights, and of `keys and values`.
    """
    layers, width, length = dims.n_text_layer, dims.n_text_state, dims.n_audio_ctx
    whole = took[f"step {length} {layers}"]
    in_layers = (whole - took[f"step {length} 1"]) / (layers - 1) * layers
    cross = (whole - took[f"step {FEW} {layers}"]) * length / (length - FEW)
    return [
        Part("attention to the audio", cross, layers * 4 * length * width, sizes["keys and values"]),
        Part("all else in the layers", in_layers - cross, layers * 28 * width**2, sizes["decoder.blocks"]),
        Part("the vocabulary", whole - in_layers, 2 * dims.n_vocab * width, sizes["decoder.embedding"]),
    ]


def medians(calls: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Milliseconds of each call, all in turn, after one that is not counted."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-1, runs):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            if number >= 0:
                took[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in took.items()}


def rates(runs: int) -> tuple[float, float]:
    """What PyTorch reaches on this machine: 10^9 operations a second in bfloat16, and 10^9 bytes a second read."""
    import torch

    size = 2048
    left, right = (torch.randn(size, size).to(torch.bfloat16) for _ in range(2))
    vector = torch.ones(1 << 26)
    took = medians({"product": lambda: left @ right, "sum": vector.sum}, runs)
    return 2 * size**3 / took["product"] / 1e6, 4 * vector.numel() / took["sum"] / 1e6


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def report(model: str, compute_types: Sequence[str], runs: int) -> str:
    """The tables, in Markdown."""
    operations, reads = rates(runs)
    cpu = machine()
    lines = [
        f"{model}'s shape, random weights, {cpu['cpu']}; PyTorch's products of bfloat16 run at {operations:,.0f} 10^9",
        f"operations a second, its reads at {reads:.0f} GB/s.",
    ]
    for compute_type in compute_types:
        profile = Profile(model, compute_type)
        for title, parts in zip(("encoder", "decoder step"), profile.measure(runs), strict=True):
            whole = sum(part.milliseconds for part in parts)
            heading = [f"{title}, {compute_type}", "ms", "share", "10^9 operations a second", "GB/s"]
            rows = [part.row(whole) for part in parts]
            total = replace(
                parts[0],
                title="in all",
                milliseconds=whole,
                operations=sum(part.operations for part in parts),
                weights=sum(part.weights for part in parts),
            )
            lines += ["", markdown_table(heading, [*rows, total.row(whole)])]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", default="tiny", metavar="NAME", help="an official name, for its shape (default: %(default)s)")
    add("--compute-types", default=",".join(COMPUTE_TYPES), metavar="LIST", help="default: %(default)s")
    add("--runs", type=int, default=60, help="of each part, after one (default: %(default)s)")
    add("--page", metavar="FILE", help="write the tables into a page of Markdown")
    options = parser.parse_args()
    text = report(options.model, options.compute_types.split(","), options.runs)
    print(text)
    if options.page:
        write_own_part(Path(options.page), "profile", text)


if __name__ == "__main__":
    main()
