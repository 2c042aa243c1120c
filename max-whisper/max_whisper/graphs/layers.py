"""The layers that Whisper's encoder and decoder share, as `max.nn` modules.

Attribute names are those of openai-whisper's `whisper/model.py`, so that a published tensor's name is a module's path.
Shapes are [batch, length, width] unless said otherwise.
"""

import math

from max.dtype import DType
from max.graph import DeviceRef, TensorValue, Weight, ops
from max.nn import LayerList, LayerNorm, Linear, Module


def layer_norm(width: int, dtype: DType, device: DeviceRef) -> LayerNorm:
    """Layer normalization over the last dimension with PyTorch's epsilon, 1e-5."""
    return LayerNorm(width, [device], dtype, eps=1e-5)


def split_heads(x: TensorValue, heads: int) -> TensorValue:
    """[batch, length, width] -> [batch, heads, length, width / heads]."""
    batch, length, width = x.shape
    return ops.permute(ops.reshape(x, [batch, length, heads, int(width) // heads]), [0, 2, 1, 3])


def merge_heads(x: TensorValue) -> TensorValue:
    """[batch, heads, length, head width] -> [batch, length, heads * head width]."""
    batch, heads, length, head_width = x.shape
    return ops.reshape(ops.permute(x, [0, 2, 1, 3]), [batch, length, int(heads) * int(head_width)])


class Conv1d(Module):
    """A convolution over time with kernel 3 and padding 1, computed as a two-dimensional one of height 1.

    `weight` is [1, kernel, in, out], the layout that `ops.conv2d` reads; the checkpoint's is [out, in, kernel].
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dtype: DType, device: DeviceRef) -> None:
        super().__init__()
        self.stride = stride
        self.weight = Weight("weight", dtype, [1, 3, in_channels, out_channels], device)
        self.bias = Weight("bias", dtype, [out_channels], device)

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

    def __init__(self, width: int, dtype: DType, device: DeviceRef) -> None:
        super().__init__(
            [
                Linear(width, 4 * width, dtype, device, has_bias=True),
                Gelu(),
                Linear(4 * width, width, dtype, device, has_bias=True),
            ]
        )

    def __call__(self, x: TensorValue) -> TensorValue:
        for layer in self:
            x = layer(x)
        return x


class Attention(Module):
    """The four projections of multi-head attention, the key's without bias, and the attention itself."""

    def __init__(self, width: int, heads: int, dtype: DType, device: DeviceRef) -> None:
        super().__init__()
        self.heads = heads
        self.scale = 1 / math.sqrt(width // heads)
        self.query = Linear(width, width, dtype, device, has_bias=True)
        self.key = Linear(width, width, dtype, device)
        self.value = Linear(width, width, dtype, device, has_bias=True)
        self.out = Linear(width, width, dtype, device, has_bias=True)

    def __call__(
        self, x: TensorValue, keys: TensorValue, values: TensorValue, mask: TensorValue | None = None
    ) -> TensorValue:
        """Attention of x to keys and values [batch, heads, positions, head width]; mask [length, positions] is added.

        Scale, mask and softmax stand in the order that MAX's compiler fuses into one kernel, so that no
        [length, positions] matrix is written to memory.
        """
        scores = (split_heads(self.query(x), self.heads) @ ops.transpose(keys, 2, 3)) * self.scale
        if mask is not None:
            scores = scores + mask
        return self.out(merge_heads(ops.softmax(scores) @ values))

    def keys_values(self, x: TensorValue) -> tuple[TensorValue, TensorValue]:
        """Keys and values of x, each [batch, heads, length, head width]."""
        return split_heads(self.key(x), self.heads), split_heads(self.value(x), self.heads)
