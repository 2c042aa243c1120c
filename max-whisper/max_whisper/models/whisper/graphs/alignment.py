"""How a text lies on its audio: the decoder over whole texts, with the scores of some of its cross-attention heads.

What word timestamps are computed from (whisper/timing.py, find_alignment).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from max.dtype import DType
from max.graph import DeviceRef, Graph, TensorType, TensorValue, ops

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs.decoder import ResidualAttentionBlock, TextDecoder
from max_whisper.models.whisper.graphs.layers import few_rows_product, split_heads
from max_whisper.models.whisper.graphs.modules import Module
from max_whisper.models.whisper.graphs.whisper import Whisper
from max_whisper.runtime.kernels import calling_kernels


class WholeTextBlock(Module):
    """A decoder block over whole texts: no cache, and the queries of its cross-attention beside its output."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        self.block = block

    def __call__(
        self, x: TensorValue, mask: TensorValue, cross_keys: TensorValue, cross_values: TensorValue
    ) -> list[TensorValue]:
        """x [batch, n, width] -> the same, and queries [batch, heads, n, head width].

        mask: [n, n]. cross_keys, cross_values: [batch, heads, n_audio_ctx, head width].
        """
        block = self.block
        normalized = block.attn_ln(x)
        x = x + block.attn(normalized, *block.attn.keys_values(normalized), mask)
        queries = split_heads(block.cross_attn.query(block.cross_attn_ln(x)), block.cross_attn.heads)
        x = x + block.cross_attn.attend(queries, cross_keys, cross_values)
        return [x + block.mlp(block.mlp_ln(x)), queries]


def align(
    decoder: TextDecoder,
    tokens: TensorValue,
    followers: TensorValue,
    mask: TensorValue,
    cross: Sequence[TensorValue],
    heads: Sequence[tuple[int, int]],
    n_text: int,
) -> tuple[TensorValue, TensorValue]:
    """The graph of `build_alignment`; see there."""
    length = tokens.shape[1]
    x = ops.cast(decoder.token_embedding(tokens), DType.float32)
    x = x + decoder.positional_embedding[(slice(0, ops.shape_to_tensor([length])[0]), length), :]
    layers = [(cross[i], cross[i + 1]) for i in range(0, len(cross), 2)]
    first = WholeTextBlock(decoder.blocks[0])
    block = first.build_subgraph("whole_text_block", [x, mask, *layers[0]], "decoder.blocks.0.")
    chosen = dict(_by_layer(heads))
    queries, keys = [], []
    for i, layer in enumerate(layers):
        x, layer_queries = (value.tensor for value in ops.call(block, x, mask, *layer, prefix=f"decoder.blocks.{i}."))
        if i in chosen:
            indices = ops.constant(chosen[i], DType.int64, tokens.device)
            queries.append(ops.gather(layer_queries, indices, axis=1))
            keys.append(ops.gather(layer[0], indices, axis=1))
    scale = decoder.blocks[0].cross_attn.scale
    scores = (ops.concat(queries, axis=1) @ ops.transpose(ops.concat(keys, axis=1), 2, 3)) * scale
    logits = few_rows_product(decoder.ln(x), TensorValue(decoder.token_embedding.weight)[:n_text])
    probabilities = ops.gather_nd(ops.softmax(logits), ops.unsqueeze(followers, -1), batch_dims=2)
    return scores, probabilities


def _by_layer(heads: Sequence[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Each layer with its heads, ascending."""
    for layer, pairs in groupby(sorted(heads), key=lambda pair: pair[0]):
        yield layer, [head for _, head in pairs]


@calling_kernels()
def build_alignment(
    dims: ModelDimensions, device: DeviceRef, *, stored: DType, heads: Sequence[tuple[int, int]], n_text: int
) -> Graph:
    """Trace the graph that sees how texts lie on their audio.

    tokens int64 [batch, n]; the token after each, int64 [batch, n], less than n_text; the causal mask [n, n]; features
        [batch, n_audio_ctx, n_audio_state]
    -> scaled query-key products before the softmax, float32 [batch, len(heads), n, n_audio_ctx]; the probability of the
        token after each, float32 [batch, n], of a softmax over the first n_text tokens of the vocabulary.

    heads: (layer, head) of the cross-attention heads, all different; their scores come in ascending order.
    stored: as in `build_graphs`.
    """
    inputs = [
        TensorType(DType.int64, ["batch", "n"], device),
        TensorType(DType.int64, ["batch", "n"], device),
        TensorType(DType.float32, ["n", "n"], device),
        TensorType(DType.float32, ["batch", dims.n_audio_ctx, dims.n_audio_state], device),
    ]
    with Graph("alignment", input_types=inputs) as graph:
        tokens, followers, mask, features = (value.tensor for value in graph.inputs)
        decoder = Whisper(dims, device, stored).decoder
        cross = decoder.cross_keys_values(features)
        graph.output(*align(decoder, tokens, followers, mask, cross, heads, n_text))
    return graph
