"""The text decoder: tokens and a KV cache in, logits out (Radford et al. 2022, figure 1; whisper/model.py)."""

from collections.abc import Sequence

from max.dtype import DType
from max.graph import BufferValue, DeviceRef, TensorValue, Weight, ops

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs.layers import (
    MLP,
    Attention,
    few_rows_product,
    layer_norm,
    linear_for_tokens,
    linear_for_windows,
)
from max_whisper.models.whisper.graphs.modules import Embedding, LayerList, Module


class ResidualAttentionBlock(Module):
    """A pre-norm decoder block: causal self-attention over the cache, cross-attention to the audio, the MLP."""

    def __init__(self, width: int, heads: int, device: DeviceRef, stored: DType) -> None:
        super().__init__()
        linear = linear_for_tokens(device, stored)
        self.attn = Attention(width, heads, linear, linear)
        self.attn_ln = layer_norm(width, device)
        self.cross_attn = Attention(width, heads, linear, linear_for_windows(device))
        self.cross_attn_ln = layer_norm(width, device)
        self.mlp = MLP(width, linear)
        self.mlp_ln = layer_norm(width, device)

    def __call__(
        self,
        x: TensorValue,
        mask: TensorValue,
        start: TensorValue,
        stop: TensorValue,
        key_cache: BufferValue,
        value_cache: BufferValue,
        cross_keys: TensorValue,
        cross_values: TensorValue,
    ) -> TensorValue:
        """x [windows, group, length, width] -> the same; the caches hold `start` tokens before and `stop` after it.

        mask: [rows, 1, length, stop], where rows = windows * group. start, stop: int64 scalars on the host.
        Caches: [rows, heads, context, head width]. cross_keys, cross_values: [windows, heads, n_audio_ctx, head width].
        """
        windows, group, length, width = x.shape
        rows, _, _, held = mask.shape
        x = ops.rebind(ops.reshape(x, [windows * group, length, width]), [rows, length, width])
        normalized = self.attn_ln(x)
        for cache, new in zip((key_cache, value_cache), self.attn.keys_values(normalized), strict=True):
            ops.buffer_store_slice(cache, new, [slice(None), slice(None), (slice(start, stop), length), slice(None)])
        keys, values = (cache[:, :, (slice(0, stop), held), :] for cache in (key_cache, value_cache))
        x = x + self.attn(normalized, keys, values, mask)
        # The hypotheses of a window are one longer text to cross-attention, so that they share its keys and values.
        x = ops.rebind(x, [windows * group, length, width])
        x = ops.reshape(x, [windows, group * length, width])
        x = x + self.cross_attn(self.cross_attn_ln(x), cross_keys, cross_values)
        x = x + self.mlp(self.mlp_ln(x))
        return ops.reshape(x, [windows, group, length, width])


class TextDecoder(Module):
    """One graph for a prompt of any length and for a single token; the output projection is the token embedding.

    The weights that every token reads are kept as `stored`: float16 or float32.
    """

    def __init__(self, dims: ModelDimensions, device: DeviceRef, stored: DType) -> None:
        super().__init__()
        width = dims.n_text_state
        self.token_embedding = Embedding(dims.n_vocab, width, stored, device)
        self.positional_embedding = Weight("positional_embedding", DType.float32, [dims.n_text_ctx, width], device)
        self.blocks = LayerList(
            [ResidualAttentionBlock(width, dims.n_text_head, device, stored) for _ in range(dims.n_text_layer)]
        )
        self.ln = layer_norm(width, device)

    def __call__(
        self,
        tokens: TensorValue,
        places: TensorValue,
        start: TensorValue,
        mask: TensorValue,
        positions: TensorValue,
        caches: Sequence[BufferValue],
        cross: Sequence[TensorValue],
    ) -> dict[str, TensorValue]:
        """Append tokens to the caches; what each layer gives, by its name in the checkpoint, in order.

        tokens: int64 [windows, group, length]. places: of the same shape, each token's position in its text.
        start: int64 [1] on the host, the number of tokens that the caches hold already.
        mask: [windows * group, 1, length, start + length], added to the scores. It is an input because MAX 26.7 can
            lose a mask that the graph computes when it fuses it into the softmax.
        positions: int64 [positions], indices into the tokens. caches, cross: key and value of layer 0, of layer 1, ...

        The last is `logits` [windows, group, positions, n_vocab], those after the tokens at `positions`.
        """
        begin = start[0]
        end = begin + ops.shape_to_tensor([tokens.shape[2]])[0]
        x = ops.cast(self.token_embedding(tokens), DType.float32)
        x = x + ops.gather(TensorValue(self.positional_embedding), places, axis=0)
        tensors = [(*caches[i : i + 2], *cross[i : i + 2]) for i in range(0, len(caches), 2)]
        block = self.blocks[0].build_subgraph("decoder_block", [x, mask, begin, end, *tensors[0]], "decoder.blocks.0.")
        given = {}
        for i, layer in enumerate(tensors):
            arguments = (x, mask, begin, end, *layer)
            x = given[f"blocks.{i}"] = ops.call(block, *arguments, prefix=f"decoder.blocks.{i}.")[0].tensor
        given["ln"] = self.ln(ops.gather(x, positions, axis=2))
        given["logits"] = few_rows_product(given["ln"], TensorValue(self.token_embedding.weight))
        return given

    def cross_keys_values(self, features: TensorValue) -> list[TensorValue]:
        """Features [batch, n_audio_ctx, width] -> cross-attention's key and value of layer 0, of layer 1, ..."""
        return [tensor for block in self.blocks for tensor in block.cross_attn.keys_values(features)]
