"""The operation that appends tokens to texts and gives the logits after some of them. Called by the graph `decoder`."""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext

from ..instructions.isa import Isa
from ..memory.arena import Arena
from ..memory.views import Bytes, View, row_of, view_of
from .checks import expect_equal, expect_range
from .decoder import decoder_of
from .decoder_batch import DecoderBatch

comptime NAME = "decoder_step"


@extensibility.register("decoder_step")
struct DecoderStepOperation:
    """Append tokens to the caches: logits float32 [windows, beams, positions, n_vocab] after some of them.

    caches: uint8 [windows * slots, layers, bytes], updated; for each head keys and values of whole blocks of 32
    positions (attention/packing.mojo). tokens, position_ids: int64 [windows, beams, length]; as many beams as slots, or
    one, which has the first slot. cache_length: int64 [1], tokens that the caches hold. padding: int64 [windows], how
    many of the first tokens stand for nothing. positions: int64 [positions], indices into the tokens.
    cache_indirection: uint16 [windows, slots, capacity], the slot of the window that holds each position of a beam; not
    read where there is one slot. n_blocks: int64 [1], after how many blocks to stop; the last norm and the vocabulary
    follow on any number. cross: uint8 [windows, layers, bytes], as `cross_keys_values` gives it for `audio` positions.
    parameters: uint8 [layers, bytes]. offsets: int64 [at least 10], where the parts begin that `layout` names.
    embedding: uint8 [bytes], the last norm and the token embedding as a linear layer. These are from graphs/packing.py.
    positional_embedding: float32 [n_text_ctx, width].
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int, layout: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=4, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
        tokens: InputTensor[dtype=DType.int64, rank=3, ...],
        position_ids: InputTensor[dtype=DType.int64, rank=3, ...],
        cache_length: InputTensor[dtype=DType.int64, rank=1, ...],
        padding: InputTensor[dtype=DType.int64, rank=1, ...],
        positions: InputTensor[dtype=DType.int64, rank=1, ...],
        cache_indirection: InputTensor[dtype=DType.uint16, rank=3, ...],
        n_blocks: InputTensor[dtype=DType.int64, rank=1, ...],
        cross: InputTensor[dtype=DType.uint8, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        offsets: InputTensor[dtype=DType.int64, rank=1, ...],
        embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
        positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var n_vocab = result.shape()[3]
        var decoder = decoder_of[Isa.named[instructions](), weight, audio, layout](
            NAME, n_vocab, caches, cross, parameters, offsets, embedding, positional_embedding
        )
        expect_equal(NAME, "entries of cache_length", cache_length.shape()[0], 1)
        expect_equal(NAME, "entries of n_blocks", n_blocks.shape()[0], 1)
        decoder.n_blocks = Int(row_of(n_blocks)[0])
        expect_range(NAME, "n_blocks", decoder.n_blocks, 0, decoder.layers.rows)
        var windows, beams, length = tokens.shape()[0], tokens.shape()[1], tokens.shape()[2]
        expect_equal(NAME, "windows of padding", padding.shape()[0], windows)
        var arena = Arena.allocate(windows * 8)
        var active = arena.take[DType.int64](1, windows)
        for window in range(windows):
            active[window] = Int64(window)
        var batch = DecoderBatch(
            windows,
            beams,
            cache_indirection.shape()[1],
            length,
            decoder.width,
            Int(row_of(cache_length)[0]),
            row_of(padding),
            active,
            view_of(cache_indirection),
        )
        try:
            decoder.check_batch(NAME, batch, view_of(tokens), view_of(position_ids), row_of(positions))
            var logits = view_of(result)
            expect_equal(NAME, "rows of logits", logits.rows, batch.rows() * positions.shape()[0])
            var size = decoder.memory_size(batch, positions.shape()[0])
            var memory = Arena.allocate(size)
            decoder.logits(
                batch,
                view_of(tokens),
                view_of(position_ids),
                row_of(positions),
                memory.take[DType.uint8](1, size),
                logits,
            )
            memory.free()
        finally:
            arena.free()
