"""Silero VAD's network in NumPy: frames of audio -> probabilities of speech.

    frame of 512 samples with the 64 before it -> short-time Fourier transform, magnitudes [4 moments, 129 frequencies]
    -> four convolutions over time [1, 128] -> LSTM [128] -> probability

It is the 16 kHz model of the package silero-vad, version 6.2, with the package's weights in float32
(`training/make_voice_activity.py` takes them out of it). `python -m benchmarks.voice_activity` compares the two:
probabilities differ by 3e-5 at most, spans of speech by no sample. It is written in NumPy because the packages that run
this network bring PyTorch or ONNX Runtime, have no wheels for some systems, or give other probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FRAME_SAMPLES = 512  # samples at 16 kHz to which one probability belongs, 32 ms
CONTEXT_SAMPLES = 64  # samples before the frame that the network sees too
FRAMES_TOGETHER = 8  # frames come in multiples of this

_WINDOW, _HOP, _BINS = 256, 128, 129  # samples and frequencies of the Fourier transform
_PADDING = 64  # samples after the frame, its last ones mirrored
_STRIDES = (1, 2, 2, 1)  # of the convolutions
_HIDDEN = 128  # values of the LSTM

# OpenBLAS, in NumPy's wheels for Linux, divides a product of matrices among threads above so many multiplications and a
# product with a vector above so many elements (interface/gemm.c, interface/gemv.c). Waking threads takes longer than
# these products do, above all where other work keeps the cores busy, so every product is smaller.
_PRODUCT_SIZE = 4 * 65536
_RECURRENT_PARTS = 8  # 64 x 128 elements each, of at most 9216


class LstmState(NamedTuple):
    """What the network remembers of the frames before; each recording has its own."""

    hidden: Floats  # [128]
    cell: Floats  # [128]

    @classmethod
    def zeros(cls) -> LstmState:
        """The state at a recording's start."""
        return cls(np.zeros(_HIDDEN, np.float32), np.zeros(_HIDDEN, np.float32))


class SileroNetwork:
    """The weights, arranged for the products; nothing in it changes, so recordings and threads share one."""

    def __init__(self, tensors: Mapping[str, Floats]) -> None:
        """tensors: the checkpoint's, by its own names without `_model.`."""
        real, imaginary = tensors["stft.forward_basis_buffer"].reshape(2, _BINS, _WINDOW)
        self._fourier = [np.ascontiguousarray(basis.T) for basis in (real, imaginary)]  # [256, 129] each
        self._convolutions = []
        for index, stride in enumerate(_STRIDES):
            weight = tensors[f"encoder.{index}.reparam_conv.weight"]  # [outputs, inputs, 3]
            by_moment = np.ascontiguousarray(weight.transpose(2, 1, 0)).reshape(
                -1, len(weight)
            )  # [3 * inputs, outputs]
            self._convolutions.append((by_moment, tensors[f"encoder.{index}.reparam_conv.bias"], stride))
        self._input = np.ascontiguousarray(_sigmoids_first(tensors["decoder.rnn.weight_ih"]).T)  # [128, 512]
        recurrent = _sigmoids_first(tensors["decoder.rnn.weight_hh"])  # [512, 128]
        self._recurrent = recurrent.reshape(_RECURRENT_PARTS, -1, _HIDDEN)
        self._gate_bias = _sigmoids_first(tensors["decoder.rnn.bias_ih"] + tensors["decoder.rnn.bias_hh"])
        self._output = tensors["decoder.decoder.2.weight"].reshape(_HIDDEN)
        self._output_bias = tensors["decoder.decoder.2.bias"]

    def __call__(self, frames: Floats, state: LstmState) -> tuple[Floats, LstmState]:
        """The probabilities of frames that follow each other, float32 [n, 64 + 512] -> [n], and the state after them.

        n is a multiple of 8. Each frame begins with the last 64 samples of the frame before.
        """
        features = self._magnitudes(frames)
        for weight, bias, stride in self._convolutions:
            features = _convolution(features, weight, bias, stride)
        gates = _product(features.reshape(-1, _HIDDEN), self._input)
        gates += self._gate_bias
        hidden, state = self._recur(gates, state)
        logits = np.maximum(hidden, 0) @ self._output + self._output_bias
        return np.tanh(logits / 2) / 2 + np.float32(0.5), state  # a sigmoid that does not overflow

    def _magnitudes(self, frames: Floats) -> Floats:
        """The short-time Fourier transform, float32 [n, 576] -> [n, 4, 129]; the basis contains the Hann window."""
        padded = np.pad(frames, ((0, 0), (0, _PADDING)), "reflect")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW, axis=1)[:, ::_HOP]
        rows = np.ascontiguousarray(windows).reshape(-1, _WINDOW)
        real, imaginary = (_product(rows, basis) for basis in self._fourier)
        return np.sqrt(real * real + imaginary * imaginary).reshape(len(frames), -1, _BINS)

    def _recur(self, inputs: Floats, state: LstmState) -> tuple[Floats, LstmState]:
        """The LSTM, one frame after the other, float32 [n, 512] -> hidden values [n, 128], and the state after them.

        inputs: the terms of the gates that do not depend on the state. The sigmoids' terms are halved, since
        sigmoid(x) = (tanh(x / 2) + 1) / 2 and one call then computes all four gates.
        """
        outputs = np.empty((len(inputs), _HIDDEN), np.float32)
        gates = np.empty(4 * _HIDDEN, np.float32)
        products = gates.reshape(_RECURRENT_PARTS, -1)
        sigmoids, candidate = gates[: 3 * _HIDDEN], gates[3 * _HIDDEN :]
        input_gate, forget_gate, output_gate = sigmoids.reshape(3, _HIDDEN)
        hidden, cell = state.hidden, state.cell.copy()
        for frame_inputs, output in zip(inputs, outputs, strict=True):
            np.matmul(self._recurrent, hidden, out=products)
            gates += frame_inputs
            np.tanh(gates, out=gates)
            sigmoids += 1
            sigmoids *= 0.5
            candidate *= input_gate
            cell *= forget_gate
            cell += candidate
            hidden = np.tanh(cell, out=output)
            hidden *= output_gate
        return outputs, LstmState(hidden, cell)


def _sigmoids_first(gates: Floats) -> Floats:
    """Weights or biases of the gates, [512, ...]: from PyTorch's order input, forget, cell, output to input, forget,
    output, cell, with all but the cell's halved.
    """
    input_gate, forget_gate, candidate, output_gate = np.split(gates, 4)
    return np.concatenate([input_gate / 2, forget_gate / 2, output_gate / 2, candidate])


def _convolution(features: Floats, weight: Floats, bias: Floats, stride: int) -> Floats:
    """A convolution over three moments with a zero at each end, then ReLU: [n, moments, inputs] -> [n, ..., outputs].

    weight: [3 * inputs, outputs].
    """
    n, moments, inputs = features.shape
    padded = np.zeros((n, moments + 2, inputs), np.float32)
    padded[:, 1:-1] = features
    windows = np.lib.stride_tricks.sliding_window_view(padded.reshape(n, -1), 3 * inputs, axis=1)
    rows = np.ascontiguousarray(windows[:, :: stride * inputs]).reshape(-1, 3 * inputs)
    outputs = _product(rows, weight)
    outputs += bias
    return np.maximum(outputs, 0, out=outputs).reshape(n, -1, len(bias))


def _product(rows: Floats, weight: Floats) -> Floats:
    """rows @ weight, [n, k] @ [k, m] -> [n, m], as a stack of products that are each small enough for one thread."""
    together = FRAMES_TOGETHER
    while together * weight.size > _PRODUCT_SIZE:
        together //= 2
    return np.matmul(rows.reshape(-1, together, len(weight)), weight).reshape(len(rows), -1)
