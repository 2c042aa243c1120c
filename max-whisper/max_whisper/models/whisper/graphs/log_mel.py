"""The log-mel power of frames as a graph. It is for the host: its input is samples as they are read."""

from max.dtype import DType
from max.graph import DeviceRef, Dim, Graph, TensorType, ops
from max.graph import Module as GraphModule

from max_whisper.audio.constants import HOP_LENGTH, N_FFT
from max_whisper.runtime.kernels import calling_kernels


@calling_kernels()
def add_log10_mel(module: GraphModule) -> None:
    """Trace the graph `log10_mel` into a module.

    log10_mel: samples float32 [samples]; a window float64 [400]; filters float64 [n_mels, 201]; the bin at which each
        filter begins and the one at which it has ended, int64 [n_mels, 2] -> log10 of the mel power, not below -10, of
        all frames that lie whole in the samples, float32 [n_mels, frames].
    """
    cpu = DeviceRef.CPU()
    inputs = [
        TensorType(DType.float32, ["samples"], cpu),
        TensorType(DType.float64, [N_FFT], cpu),
        TensorType(DType.float64, ["n_mels", N_FFT // 2 + 1], cpu),
        TensorType(DType.int64, ["n_mels", 2], cpu),
    ]
    frames = (Dim("samples") - (N_FFT - HOP_LENGTH)) // HOP_LENGTH
    result = TensorType(DType.float32, ["n_mels", frames], cpu)
    with Graph("log10_mel", input_types=inputs, module=module) as graph:
        graph.output(*ops.custom("log10_mel", cpu, [value.tensor for value in graph.inputs], [result]))
