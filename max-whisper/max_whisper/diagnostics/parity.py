"""The parity lab: encoder and decoder on MAX beside openai-whisper on PyTorch, layer by layer, on the same weights.

For each layer it prints mean and standard deviation on MAX, cosine similarity and the largest difference to PyTorch,
and marks the first one over its limit. First come MAX's own operations, of which every layer is an output. Then comes
the product, the graphs that transcribe: on a CPU its fused operations, stopped after each block. A decoder stopped so
gives logits, those that the last norm and the vocabulary make of the block's output. The tokens that both choose step
by step are the product's.
"""

import gc
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from max_whisper.diagnostics.backends import resolve_model
from max_whisper.diagnostics.screen import output_console
from max_whisper.models.whisper.checkpoint import Checkpoint, load_checkpoint
from max_whisper.options.parser import CommandParser, path_of
from max_whisper.progress import Progress, Step, silent
from max_whisper.runtime.devices import DEVICES

LIMITS = {"features": 1e-4, "logits": 1e-3}  # largest absolute difference
REFERENCE_NAMES = {"features": "encoder.ln_post", "logits": "decoder.logits"}  # others have their own
PRODUCT = "product: "
STEPS = 64  # tokens
ALL_MODELS = ("nano", "random:tiny", "random:base", "random:small.en", "random:turbo", "random:large-v3")


@dataclass(frozen=True)
class LayerComparison:
    """One layer's values on MAX against PyTorch's."""

    name: str  # of the product's with `product: ` before it
    mean: float  # on MAX
    deviation: float  # standard deviation on MAX
    cosine: float
    largest_difference: float
    limit: float  # of the largest difference

    @property
    def is_equal(self) -> bool:
        """Whether every value is within the limit; values that are not numbers never are."""
        return self.largest_difference <= self.limit


@dataclass(frozen=True)
class Parity:
    """A model compared."""

    model: str
    layers: list[LayerComparison]
    tokens: list[int]  # chosen step by step on MAX
    reference_tokens: list[int]  # and on PyTorch

    @property
    def is_equal(self) -> bool:
        """Whether all layers are within their limits and all tokens the same."""
        return all(layer.is_equal for layer in self.layers) and self.tokens == self.reference_tokens


def compare(checkpoint: Checkpoint, device: str = "cpu", seed: int = 0, progress: Progress = silent) -> Parity:
    """Run a checkpoint on MAX and on PyTorch's CPU, over one window of noise and random tokens.

    The device is MAX's; the reference stays where its float32 is exact.
    """
    import torch

    from max_whisper.backends.factory import load_max_model
    from max_whisper.backends.fused import FusedModel
    from max_whisper.backends.max_graph import MaxGraphModel
    from max_whisper.backends.reference import TorchModel, reference_model
    from max_whisper.runtime.devices import select_device

    dims = checkpoint.dims
    generator = np.random.default_rng(seed)
    log_mel = generator.standard_normal((1, dims.n_mels, 2 * dims.n_audio_ctx), dtype=np.float32)
    tokens = generator.integers(0, dims.n_vocab, (1, STEPS))

    model = reference_model(checkpoint, torch.device("cpu"))
    reference = reference_layers(model, log_mel, tokens)
    reference_tokens = greedy_tokens(TorchModel(model), log_mel)

    selected = select_device(device)
    lab = MaxGraphModel(checkpoint, selected, progress, every_layer=True)
    layers = lab.layers(log_mel, tokens)
    del lab
    product = load_max_model(checkpoint, selected, progress=progress)
    if isinstance(product, FusedModel):
        layers |= product_layers(product.layers(log_mel, tokens))
        reference |= stopped_logits(model, reference)
    features = product.encode(log_mel)
    layers["product: features"] = features.features.to_numpy()
    layers["product: logits"] = product.start(features).advance(tokens, range(tokens.shape[1]))
    return Parity(
        checkpoint.name,
        [compare_layer(name, ours, reference[reference_name(name)]) for name, ours in layers.items()],
        greedy_tokens(product, log_mel),
        reference_tokens,
    )


def reference_layers(model: Any, log_mel: np.ndarray, tokens: np.ndarray) -> dict[str, np.ndarray]:
    """What each module of openai-whisper's model gives, by its name, heard through forward hooks."""
    import torch

    heard: dict[str, np.ndarray] = {}

    def listen(name: str) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            values = output.numpy()
            # PyTorch's convolutions give [batch, channels, length].
            heard[name] = values.transpose(0, 2, 1) if ".conv" in name else values

        return hook

    def listen_before(name: str) -> Any:
        def hook(module: Any, arguments: Any) -> None:
            heard[f"{name}.input"] = arguments[0].numpy()

        return hook

    listened = [
        module.register_forward_hook(listen(name))
        for name, module in model.named_modules()
        if name in ("encoder.conv1", "encoder.conv2", "encoder.ln_post", "decoder.ln")
        or name.removeprefix("encoder.").removeprefix("decoder.").removeprefix("blocks.").isdigit()
    ]
    listened += [
        module.register_forward_pre_hook(listen_before(name))
        for name, module in model.named_modules()
        if name in ("encoder.blocks.0", "decoder.blocks.0")
    ]
    with torch.no_grad():
        features = model.encoder(torch.from_numpy(log_mel))
        heard["decoder.logits"] = model.decoder(torch.from_numpy(tokens), features).numpy()
    for hook in listened:
        hook.remove()
    return heard


def reference_name(name: str) -> str:
    """What `reference_layers` and `stopped_logits` call a layer."""
    own = name.removeprefix(PRODUCT)
    return REFERENCE_NAMES.get(own, own)


def product_layers(stopped: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What `FusedModel.layers` gives, by the layers of the checkpoint after which it was stopped."""
    names = {"encoder.x.0": "encoder.blocks.0.input", "decoder.logits.0": "decoder.blocks.0.input.logits"}

    def named(name: str) -> str:
        side, kind, *number = name.split(".")
        if name in names or not number:
            return names.get(name, name)
        return f"{side}.blocks.{int(number[0]) - 1}" + (".logits" if kind == "logits" else "")

    return {PRODUCT + named(name): values for name, values in stopped.items()}


def stopped_logits(model: Any, heard: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The logits that the last norm and the vocabulary make of what goes into the decoder's blocks and comes out."""
    import torch

    decoder = model.decoder
    with torch.no_grad():
        return {
            f"{name}.logits": (decoder.ln(torch.from_numpy(values)) @ decoder.token_embedding.weight.T).numpy()
            for name, values in heard.items()
            if name.startswith("decoder.blocks.")
        }


def greedy_tokens(model: Any, log_mel: np.ndarray, first: int = 0) -> list[int]:
    """`STEPS` tokens, each the most probable one after those before it, one decoder step a token."""
    state = model.start(model.encode(log_mel))
    tokens = [first]
    for _ in range(STEPS):
        logits = state.advance(np.array([tokens[-1:]], dtype=np.int64), [0])
        tokens.append(int(logits[0, 0].argmax()))
    return tokens[1:]


def compare_layer(name: str, ours: np.ndarray, reference: np.ndarray) -> LayerComparison:
    """One layer's values on MAX against PyTorch's, of the same shape."""
    a, b = ours.astype(np.float64).ravel(), reference.astype(np.float64).ravel()
    cosine = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return LayerComparison(name, float(a.mean()), float(a.std()), cosine, float(np.abs(a - b).max()), limit(name, b))


def limit(name: str, reference: np.ndarray) -> float:
    """The largest difference allowed: absolute at the ends, inside in units of the layer's standard deviation."""
    own = name.removeprefix(PRODUCT)
    if own in LIMITS:
        return LIMITS[own]
    return LIMITS["features" if own.startswith("encoder.") else "logits"] * max(1.0, float(reference.std()))


def parity_table(parity: Parity) -> Table:
    """The comparison as a table, the first layer over its limit in red."""
    table = Table(title=f"{parity.model}: MAX beside PyTorch, float32", title_justify="left", box=box.ROUNDED)
    table.add_column("layer", no_wrap=True)
    for heading in ("mean", "std", "cosine", "largest difference", "limit"):
        table.add_column(heading, justify="right")
    first = next((layer for layer in parity.layers if not layer.is_equal), None)
    for layer in parity.layers:
        table.add_row(
            layer.name + (" - first over the limit" if layer is first else ""),
            f"{layer.mean:.4f}",
            f"{layer.deviation:.4f}",
            f"{layer.cosine:.9f}",
            f"{layer.largest_difference:.1e}",
            f"{layer.limit:.1e}",
            style="red" if layer is first else None,
        )
    return table


def run(arguments: Sequence[str], program: str = "max-whisper parity") -> int:
    """Compare models; returns 0 where all are equal within the limits, otherwise 1."""
    parser = CommandParser(prog=program, description=__doc__)
    add = parser.add_argument
    models_help = "name, file or folder, random:NAME or random:NAME:LAYERS (default: nano)"
    add("--model", action="append", type=path_of, help=models_help)
    add("--all", action="store_true", help=f"all layers of {', '.join(ALL_MODELS)}")
    add(
        "--device", default="cpu", choices=DEVICES, help="MAX's device; PyTorch stays on the CPU (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    models = ALL_MODELS if options.all else options.model or ["nano"]

    console = output_console()
    status = 0
    for model in models:
        parity = compare(load_checkpoint(resolve_model(model)), options.device, progress=_report)
        console.print(parity_table(replace(parity, model=model)))
        same = sum(ours == theirs for ours, theirs in zip(parity.tokens, parity.reference_tokens, strict=True))
        verdict = "equal" if parity.is_equal else "NOT EQUAL"
        console.print(f"{same} of {STEPS} tokens the same, chosen step by step; {model} is {verdict}\n")
        status |= not parity.is_equal
        gc.collect()  # of the largest models no two fit into memory
    return status


def _report(step: Step, /) -> None:
    print(step.message, file=sys.stderr, flush=True)
