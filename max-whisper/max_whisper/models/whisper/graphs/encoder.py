"""The audio encoder: log-mel windows in, features out (Radford et al. 2022, figure 1; whisper/model.py)."""

from max.dtype import DType
from max.graph import DeviceRef, TensorValue, Weight, ops

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs.layers import MLP, Attention, Conv1d, layer_norm, linear_for_windows
from max_whisper.models.whisper.graphs.modules import LayerList, Module


class ResidualAttentionBlock(Module):
    """A pre-norm encoder block: self-attention over the whole window, then the MLP."""

    def __init__(self, width: int, heads: int, device: DeviceRef) -> None:
        super().__init__()
        linear = linear_for_windows(device)
        self.attn = Attention(width, heads, linear, linear)
        self.attn_ln = layer_norm(width, device)
        self.mlp = MLP(width, linear)
        self.mlp_ln = layer_norm(width, device)

    def __call__(self, x: TensorValue) -> TensorValue:
        """[batch, length, width] -> the same."""
        x = x + self.attn.attend(*self.attn.queries_keys_values(self.attn_ln(x)))
        return x + self.mlp(self.mlp_ln(x))


class AudioEncoder(Module):
    """Two convolutions, sinusoidal positions, `n_audio_layer` blocks and a last layer normalization."""

    def __init__(self, dims: ModelDimensions, device: DeviceRef) -> None:
        super().__init__()
        width = dims.n_audio_state
        self.conv1 = Conv1d(dims.n_mels, width, 1, device)
        self.conv2 = Conv1d(width, width, 2, device)
        self.positional_embedding = Weight("positional_embedding", DType.float32, [dims.n_audio_ctx, width], device)
        self.blocks = LayerList(
            [ResidualAttentionBlock(width, dims.n_audio_head, device) for _ in range(dims.n_audio_layer)]
        )
        self.ln_post = layer_norm(width, device)

    def __call__(self, log_mel: TensorValue) -> dict[str, TensorValue]:
        """What each layer gives, by its name in the checkpoint, in order.

        log_mel: [batch, n_mels, 2 * n_audio_ctx]. The last is `ln_post`, the features [batch, n_audio_ctx, width].
        """
        given = {"conv1": self.conv1(ops.permute(log_mel, [0, 2, 1]))}
        given["conv2"] = self.conv2(ops.gelu(given["conv1"]))
        x = ops.gelu(given["conv2"]) + self.positional_embedding
        block = self.blocks[0].build_subgraph("encoder_block", [x], "encoder.blocks.0.")
        for i in range(len(self.blocks)):
            x = given[f"blocks.{i}"] = ops.call(block, x, prefix=f"encoder.blocks.{i}.")[0].tensor
        given["ln_post"] = self.ln_post(x)
        return given
