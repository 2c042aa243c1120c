"""A Whisper model as graphs that are compiled together: `log10_mel`, `encoder`, `cross_attention` and `decoder`."""

from collections.abc import Mapping

import numpy as np
from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, TensorType, TensorValue
from max.graph import Module as GraphModule

from max_whisper.models.files.tensors import Weights
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs.decoder import TextDecoder
from max_whisper.models.whisper.graphs.encoder import AudioEncoder
from max_whisper.models.whisper.graphs.log_mel import add_log10_mel
from max_whisper.models.whisper.graphs.modules import Module
from max_whisper.runtime.kernels import calling_kernels


class Whisper(Module):
    """The root that gives every weight its published name, `encoder.conv1.weight` and so on.

    A graph renames the weights of the module it is traced from, so each graph is traced from a module of its own.
    """

    def __init__(self, dims: ModelDimensions, device: DeviceRef, stored: DType) -> None:
        super().__init__()
        self.encoder = AudioEncoder(dims, device)
        self.decoder = TextDecoder(dims, device, stored)
        for name, weight in self.raw_state_dict().items():
            weight.name = name

    def __call__(self, log_mel: TensorValue) -> dict[str, TensorValue]:
        """What each layer of the encoder gives; see AudioEncoder."""
        return self.encoder(log_mel)


@calling_kernels()
def build_graphs(
    dims: ModelDimensions, device: DeviceRef, *, stored: DType = DType.float32, every_layer: bool = False
) -> GraphModule:
    """Trace the graphs of a model of `dims` for a device, in one module, so that they share compiled kernels.

    encoder: log-mel windows [batch, n_mels, 2 * n_audio_ctx] -> features [batch, n_audio_ctx, n_audio_state].
    cross_attention: features -> key and value of decoder layer 0, of layer 1, ..., each [batch, n_text_head,
        n_audio_ctx, head width]; run once per window.
    decoder: tokens int64 [windows, group, length], the next of `group` hypotheses for each window; the position of
        each in its text, of the same shape; how many tokens the caches hold, int64 [1] on the host; a mask
        [windows * group, 1, length, held]; int64 [positions]; a key and a value cache
        [windows * group, n_text_head, context, head width] for each layer, updated in place; the outputs of
        cross_attention -> logits [windows, group, positions, n_vocab].
    log10_mel: see `add_log10_mel`.

    stored: the precision of the weights that every token reads, float16 or float32; float16 on a CPU only.
    every_layer: encoder and decoder give what each of their layers gives, the features and the logits last.
    """
    module = GraphModule()
    add_log10_mel(module)
    head = dims.n_text_state // dims.n_text_head
    features = TensorType(DType.float32, ["batch", dims.n_audio_ctx, dims.n_audio_state], device)

    log_mel = TensorType(DType.float32, ["batch", dims.n_mels, 2 * dims.n_audio_ctx], device)
    with Graph("encoder", input_types=[log_mel], module=module) as graph:
        layers = Whisper(dims, device, stored).encoder(graph.inputs[0].tensor)
        graph.output(*_outputs(layers, every_layer))

    with Graph("cross_attention", input_types=[features], module=module) as graph:
        graph.output(*Whisper(dims, device, stored).decoder.cross_keys_values(graph.inputs[0].tensor))

    n_tensors = 2 * dims.n_text_layer
    cache = BufferType(DType.float32, ["rows", dims.n_text_head, "context", head], device)
    cross = TensorType(DType.float32, ["windows", dims.n_text_head, dims.n_audio_ctx, head], device)
    inputs = [
        TensorType(DType.int64, ["windows", "group", "length"], device),
        TensorType(DType.int64, ["windows", "group", "length"], device),
        TensorType(DType.int64, [1], DeviceRef.CPU()),
        TensorType(DType.float32, ["rows", 1, "length", "held"], device),
        TensorType(DType.int64, ["positions"], device),
        *[cache] * n_tensors,
        *[cross] * n_tensors,
    ]
    with Graph("decoder", input_types=inputs, module=module) as graph:
        tokens, places, start, mask, positions, *tensors = graph.inputs
        layers = Whisper(dims, device, stored).decoder(
            tokens.tensor,
            places.tensor,
            start.tensor,
            mask.tensor,
            positions.tensor,
            [value.buffer for value in tensors[:n_tensors]],
            [value.tensor for value in tensors[n_tensors:]],
        )
        graph.output(*_outputs(layers, every_layer))
    return module


def _outputs(layers: Mapping[str, TensorValue], every_layer: bool) -> list[TensorValue]:
    values = list(layers.values())
    return values if every_layer else values[-1:]


def weights_for_graphs(weights: Weights, dims: ModelDimensions, stored: DType, part: str = "") -> dict[str, np.ndarray]:
    """A checkpoint's weights as the graphs read them; `part` is what their names begin with.

    The convolutions' filters are turned to [1, kernel, in, out]; the weights that every token reads are as `stored`;
    all others are float32.
    """
    expected = Whisper(dims, DeviceRef.CPU(), stored).raw_state_dict()
    return {
        name: np.ascontiguousarray(weights[name].transpose(2, 1, 0)[None])
        if ".conv" in name and name.endswith(".weight")
        else (weights.stored(name) if weight.dtype == DType.float16 else weights[name])
        for name, weight in expected.items()
        if name.startswith(part)
    }
