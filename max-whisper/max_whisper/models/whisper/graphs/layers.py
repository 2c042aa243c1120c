"""The layers that Whisper's encoder and decoder share, as `max.nn` modules.

Attribute names are those of openai-whisper's `whisper/model.py`, so that a published tensor's name is a module's path.
Shapes are [batch, length, width] unless said otherwise; values are float32.
"""

import math
from collections.abc import Callable

from max.dtype import DType
from max.graph import DeviceRef, Dim, TensorType, TensorValue, Weight, ops

from max_whisper.models.whisper.graphs.modules import LayerList, LayerNorm, Linear, Module

LinearFactory = Callable[[int, int, bool], Module]
"""Makes a linear layer: in width, out width, whether it has a bias."""


def layer_norm(width: int, device: DeviceRef) -> LayerNorm:
    """Layer normalization over the last dimension with PyTorch's epsilon, 1e-5."""
    return LayerNorm(width, [device], DType.float32, eps=1e-5)


def linear_for_windows(device: DeviceRef) -> LinearFactory:
    """Linear layers for the 1,500 positions of a window: bound by arithmetic, weights in float32."""
    return lambda width_in, width_out, has_bias: Linear(width_in, width_out, DType.float32, device, has_bias=has_bias)


def linear_for_tokens(device: DeviceRef, stored: DType) -> LinearFactory:
    """Linear layers for a token or a prompt: bound by the bytes of the weights, which are kept as `stored`."""
    return lambda width_in, width_out, has_bias: FewRowsLinear(width_in, width_out, has_bias, device, stored)


def split_heads(x: TensorValue, heads: int) -> TensorValue:
    """[batch, length, width] -> [batch, heads, length, width / heads]."""
    batch, length, width = x.shape
    return ops.permute(ops.reshape(x, [batch, length, heads, int(width) // heads]), [0, 2, 1, 3])


def merge_heads(x: TensorValue) -> TensorValue:
    """[batch, heads, length, head width] -> [batch, length, heads * head width]."""
    batch, heads, length, head_width = x.shape
    return ops.reshape(ops.permute(x, [0, 2, 1, 3]), [batch, length, int(heads) * int(head_width)])


def few_rows_product(x: TensorValue, weight: TensorValue) -> TensorValue:
    """x [..., in] times weight [out, in] -> [..., out]; the weight may be float16.

    On a CPU it is our kernel `few_rows_linear`, which widens a weight as it reads it; widening is exact, so this is the
    float32 product. Elsewhere, and for a width that the kernel does not take, the product is MAX's own.
    """
    if not x.device.is_cpu() or int(x.shape[-1]) % 16:
        return x @ ops.transpose(ops.cast(weight, DType.float32), 0, 1)
    *leading, depth = x.shape
    rows = ops.reshape(x, [math.prod(leading, start=Dim(1)), depth])
    result = TensorType(DType.float32, [rows.shape[0], weight.shape[0]], x.device)
    (product,) = ops.custom("few_rows_linear", x.device, [rows, weight], [result])
    return ops.reshape(product.tensor, [*leading, weight.shape[0]])


class FewRowsLinear(Module):
    """A linear layer with float32 arithmetic whose weight is kept in the precision in which it was published."""

    def __init__(self, width_in: int, width_out: int, has_bias: bool, device: DeviceRef, stored: DType) -> None:
        super().__init__()
        self.weight = Weight("weight", stored, [width_out, width_in], device)
        self.bias = Weight("bias", DType.float32, [width_out], device) if has_bias else None

    def __call__(self, x: TensorValue) -> TensorValue:
        product = few_rows_product(x, TensorValue(self.weight))
        return product if self.bias is None else product + self.bias


class Conv1d(Module):
    """A convolution over time with kernel 3 and padding 1, computed as a two-dimensional one of height 1.

    `weight` is [1, kernel, in, out], the layout that `ops.conv2d` reads; the checkpoint's is [out, in, kernel].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, device: DeviceRef) -> None:
        super().__init__()
        self.stride = stride
        self.weight = Weight("weight", DType.float32, [1, 3, in_channels, out_channels], device)
        self.bias = Weight("bias", DType.float32, [out_channels], device)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[batch, length, in] -> [batch, ceil(length / stride), out]."""
        y = ops.conv2d(ops.unsqueeze(x, 1), self.weight, stride=(1, self.stride), padding=(0, 0, 1, 1))
        return ops.squeeze(y, 1) + self.bias


class Gelu(Module):
    """The exact Gaussian error linear unit, a member of its own because checkpoints number it as one."""

    def __call__(self, x: TensorValue) -> TensorValue:
        return ops.gelu(x)


class MLP(LayerList):
    """Linear to four times the width, GELU, linear back: `mlp.0`, `mlp.1` and `mlp.2` of a checkpoint."""

    def __init__(self, width: int, linear: LinearFactory) -> None:
        super().__init__([linear(width, 4 * width, True), Gelu(), linear(4 * width, width, True)])

    def __call__(self, x: TensorValue) -> TensorValue:
        for layer in self:
            x = layer(x)
        return x


class Attention(Module):
    """The four projections of multi-head attention, the key's without bias, and the attention itself."""

    def __init__(self, width: int, heads: int, linear: LinearFactory, linear_for_keys: LinearFactory) -> None:
        super().__init__()
        self.heads = heads
        self.scale = 1 / math.sqrt(width // heads)
        self.query = linear(width, width, True)
        self.key = linear_for_keys(width, width, False)
        self.value = linear_for_keys(width, width, True)
        self.out = linear(width, width, True)

    def __call__(
        self, x: TensorValue, keys: TensorValue, values: TensorValue, mask: TensorValue | None = None
    ) -> TensorValue:
        """Attention of x to keys and values [batch, heads, positions, head width].

        mask: [batch, 1, length, positions], added to the scores.
        """
        return self.attend(split_heads(self.query(x), self.heads), keys, values, mask)

    def attend(
        self, queries: TensorValue, keys: TensorValue, values: TensorValue, mask: TensorValue | None = None
    ) -> TensorValue:
        """The attention itself and the output projection: [batch, heads, length, head width] -> [batch, length, width].

        Scale, mask and softmax stand in the order that MAX's compiler fuses into one kernel, so that no
        [length, positions] matrix is written to memory.
        """
        scores = (queries @ ops.transpose(keys, 2, 3)) * self.scale
        if mask is not None:
            scores = scores + mask
        return self.out(merge_heads(ops.softmax(scores) @ values))

    def queries_keys_values(self, x: TensorValue) -> list[TensorValue]:
        """Queries, keys and values of x, each [batch, heads, length, head width], from one product.

        Three smaller products leave threads idle: MAX 26.7 gives one of 1500 x 384 x 384 to a single thread.
        """
        width = int(x.shape[-1])
        weights = ops.concat([TensorValue(layer.weight) for layer in (self.query, self.key, self.value)])
        queries, keys, values = ops.split(x @ ops.transpose(weights, 0, 1), [width] * 3, axis=-1)
        projected = (queries + self.query.bias, keys, values + self.value.bias)
        return [split_heads(tensor, self.heads) for tensor in projected]

    def keys_values(self, x: TensorValue) -> tuple[TensorValue, TensorValue]:
        """Keys and values of x, each [batch, heads, length, head width]."""
        return split_heads(self.key(x), self.heads), split_heads(self.value(x), self.heads)
