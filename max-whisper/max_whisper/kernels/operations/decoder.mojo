"""The decoder: tokens in, logits out, in 8-bit integers, bfloat16 or float32.

Each block is x + attention to the text, x + attention to the audio, x + MLP, each of ln(x). The values of a token go
from layer to layer in the CPU's caches, and threads are woken once for a step. Called by the operations decoder_step,
greedy and beams.
"""

from extensibility import InputTensor, _MutableInputTensor as MutableInputTensor
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, max

from ..attention.kv_cache import KVCache
from ..attention.packing import HEAD, kind_of
from ..instructions.isa import Isa
from ..instructions.product_team import in_product_team
from ..matmul.linear import Linear
from ..matmul.tiles import BLOCK
from ..memory.arena import Arena
from ..memory.team import Team
from ..memory.views import Bytes, View, row_of, view_of
from ..sampling.sampler import Sampler
from .block_parameters import DecoderBlock, norm_at
from .checks import expect_equal, expect_heads, expect_ids, expect_multiple, expect_parts, expect_range
from .decoder_batch import DecoderBatch
from .decoder_layers import DecoderScratch, DecoderStep, LinearInput

comptime PHASES_OF_BLOCK = 16  # at most: eight, each with rows to make ready


@fieldwise_init
struct Decoder[isa: Isa, weight: DType](ImplicitlyCopyable):
    """The decoder's parameters, and the keys and values that it reads and adds to."""

    comptime Layer = Linear[Self.isa, Self.weight]
    comptime Block = DecoderBlock[Self.isa, Self.weight]
    comptime Cache = KVCache[Self.isa, kind_of[Self.weight]()]

    var width: Int
    var n_blocks: Int  # to compute; all of them, but where layers are compared
    var layers: Bytes  # [layers, bytes]
    var offsets: View[DType.int64]  # [1, parts + 1]
    var embedding: Bytes  # [1, bytes], the last norm, then the vocabulary as a linear layer
    var n_vocab: Int
    var positional_embedding: View[DType.float32]  # [n_text_ctx, width]
    var own: Self.Cache  # of the texts
    var cross: Self.Cache  # of the audio
    var audio: Int  # positions of a window
    var n_threads: Int

    def last_norm(self) -> View[DType.float32]:
        return norm_at(self.embedding, 0, self.width)

    def vocabulary(self) -> Self.Layer:
        var start = 8 * self.width
        var parameters = self.embedding.columns_from(start, self.embedding.columns - start)
        return Self.Layer.of(parameters, ceildiv(self.n_vocab, BLOCK) * BLOCK, self.width)

    def check_capacity(self, operation: StaticString, length: Int) raises:
        """Raise an error unless the caches have room for so many tokens of each text."""
        expect_range(operation, "tokens of a text in the caches", length, 0, self.own.capacity() * BLOCK)

    def check_batch(
        self,
        operation: StaticString,
        batch: DecoderBatch,
        tokens: View[DType.int64],
        position_ids: View[DType.int64],
        positions: View[DType.int64],
    ) raises:
        """Raise an error unless a step may be given these; see `logits`."""
        batch.check(operation, self.own.bytes.rows // self.own.layers, self.own.capacity() * BLOCK)
        var windows = self.cross.bytes.rows // self.cross.layers
        expect_equal(operation, "windows of cross", windows, batch.padding.columns)
        expect_equal(operation, "tokens", tokens.rows * tokens.columns, batch.tokens())
        expect_equal(operation, "position_ids", position_ids.rows * position_ids.columns, batch.tokens())
        expect_ids(operation, "tokens", tokens, self.n_vocab)
        expect_ids(operation, "position_ids", position_ids, self.positional_embedding.rows)
        expect_ids(operation, "positions", positions, batch.length)

    def memory_size(self, batch: DecoderBatch, n_positions: Int) -> Int:
        """Bytes that a step needs, for logits after so many tokens of a hypothesis."""
        var arena = Arena.measure()
        _ = self._scratch(arena, batch, n_positions)
        return arena.used

    def logits(
        self,
        batch: DecoderBatch,
        tokens: View[DType.int64],
        position_ids: View[DType.int64],
        positions: View[DType.int64],
        memory: Bytes,
        result: View[DType.float32],
    ):
        """Append tokens to the caches: float32 [windows * beams * positions, n_vocab] after some of them.

        tokens, position_ids: int64 [windows * beams, length]. positions: int64 [1, positions], indices into a
        hypothesis' tokens. memory: a row of `memory_size`.
        """
        var step = self._step(batch, tokens, position_ids, positions.columns, memory)

        def through_layers(mut team: Team) {imm}:
            self._through_layers(team, step, positions)
            step.linear["store"](team, self.vocabulary(), result, LinearInput.none())

        in_product_team[Self.isa](self.n_threads, self._phases(), through_layers)

    def sample(
        self,
        batch: DecoderBatch,
        tokens: View[DType.int64],
        position_ids: View[DType.int64],
        positions: View[DType.int64],
        memory: Bytes,
        sampler: Sampler,
    ):
        """As `logits`, which go to the sampler's rows [windows, beams, positions]."""
        var step = self._step(batch, tokens, position_ids, positions.columns, memory)

        def through_layers(mut team: Team) {imm}:
            self._through_layers(team, step, positions)
            step.sample(team, self.vocabulary(), batch.rows() * positions.columns, sampler)

        in_product_team[Self.isa](self.n_threads, self._phases(), through_layers)

    def _block(self, layer: Int) -> Self.Block:
        return Self.Block.of(self.layers.row(layer), self.offsets, self.width)

    def _phases(self) -> Int:
        """Phases that a step has at the most: those of the blocks, and those around them."""
        return PHASES_OF_BLOCK * self.n_blocks + 4

    def _scratch(
        self, mut arena: Arena, batch: DecoderBatch, n_positions: Int
    ) -> DecoderScratch[Self.isa, Self.weight]:
        var blocks = ceildiv(max(self.audio, batch.end()), BLOCK)
        return DecoderScratch[Self.isa, Self.weight].take(arena, batch, n_positions, blocks, self.n_threads)

    def _step(
        self,
        batch: DecoderBatch,
        tokens: View[DType.int64],
        position_ids: View[DType.int64],
        n_positions: Int,
        memory: Bytes,
    ) -> DecoderStep[Self.isa, Self.weight]:
        """A step that has the tokens' embeddings."""
        var arena = Arena.of(memory)
        var scratch = self._scratch(arena, batch, n_positions)
        var step = DecoderStep[Self.isa, Self.weight](batch, scratch, self.n_threads)
        if batch.slots > 1:
            step.find_used_slots()
        var vocabulary = self.vocabulary()
        for row in range(batch.rows()):
            for i in range(batch.length):
                var x = scratch.x.row(row * batch.length + i)
                vocabulary.weights_of(Int(tokens.load(row, i)), x)
                var position = self.positional_embedding.row(Int(position_ids.load(row, i)))
                for j in range(0, self.width, 16):
                    x.store(0, j, x.load[16](0, j) + position.load[16](0, j))
        return step

    def _through_layers(
        self, mut team: Team, step: DecoderStep[Self.isa, Self.weight], positions: View[DType.int64]
    ):
        """Append the tokens to the caches and make what comes of some of them ready for the vocabulary."""
        var width = self.width
        var batch = step.batch
        var tokens = batch.tokens()
        var x = step.scratch.x.rows_from(0, tokens)
        var wide = step.scratch.wide
        var attended = LinearInput.plain(step.scratch.attended.rows_from(0, tokens))
        if self.n_blocks:
            step.prepare(team, LinearInput(x, self._block(0).attn_ln))
        for layer in range(self.n_blocks):
            var block = self._block(layer)
            step.linear["store"](team, block.query_key_value, wide.reshaped(tokens, 3 * width), LinearInput.none())
            step.attend_to_text(team, self.own, layer, attended)
            step.linear["add"](team, block.out, x, LinearInput(x, block.cross_attn_ln))
            step.linear["store"](team, block.cross_query, wide.reshaped(tokens, width), LinearInput.none())
            step.attend_to_audio(team, self.cross, layer, self.audio, attended)
            step.linear["add"](team, block.cross_out, x, LinearInput(x, block.mlp_ln))
            var hidden = wide.reshaped(tokens, 4 * width)
            step.linear["gelu"](team, block.fc1, hidden, LinearInput.plain(hidden))
            var next = LinearInput.none()
            if layer + 1 < self.n_blocks:
                next = LinearInput(x, self._block(layer + 1).attn_ln)
            step.linear["add"](team, block.fc2, x, next)

        var last = step.scratch.attended.rows_from(0, batch.rows() * positions.columns)

        def gather_positions(row: Int) {imm}:
            for i in range(positions.columns):
                var source = x.row(row * batch.length + Int(positions[i]))
                var target = last.row(row * positions.columns + i)
                for j in range(0, width, 16):
                    target.store(0, j, source.load[16](0, j))

        step.share(team, batch.rows(), gather_positions, LinearInput(last, self.last_norm()))


def decoder_of[
    isa: Isa, weight: DType, audio: Int, layout: StaticString
](
    operation: StaticString,
    n_vocab: Int,
    caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
    cross: InputTensor[dtype=DType.uint8, rank=3, ...],
    parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
    offsets: InputTensor[dtype=DType.int64, rank=1, ...],
    embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
    positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
) raises -> Decoder[isa, weight]:
    """The decoder of an operation's inputs (see decoder_step.mojo), whose sizes are checked here for all operations."""
    comptime Block = DecoderBlock[isa, weight]
    comptime Cache = Decoder[isa, weight].Cache
    comptime assert layout == Block.NAMES, "the decoder's blocks are packed in another order than they are read"
    var width = positional_embedding.shape()[1]
    var n_layers = parameters.shape()[0]
    expect_heads(operation, width)
    expect_range(operation, "layers of the parameters", n_layers, 1, 1 << 20)
    var layers, layout_offsets = view_of(parameters), row_of(offsets)
    expect_parts(operation, layout, Block.sizes(width), layers, layout_offsets)
    var vocabulary = Linear[isa, weight].size(ceildiv(n_vocab, BLOCK) * BLOCK, width)
    expect_equal(operation, "the embedding's bytes", embedding.shape()[0], 8 * width + vocabulary)
    expect_equal(operation, "layers of the caches", caches.shape()[1], n_layers)
    expect_equal(operation, "layers of cross", cross.shape()[1], n_layers)
    var heads = width // HEAD
    expect_multiple(operation, "bytes of a layer of the caches", caches.shape()[2], Cache.layer_bytes(heads, 1))
    var cross_bytes = Cache.layer_bytes(heads, ceildiv(audio, BLOCK))
    expect_equal(operation, "bytes of a layer of cross", cross.shape()[2], cross_bytes)
    return Decoder[isa, weight](
        width,
        n_layers,
        layers,
        layout_offsets,
        row_of(embedding),
        n_vocab,
        view_of(positional_embedding),
        Cache(view_of(caches), n_layers, heads),
        Cache(view_of(cross), n_layers, heads),
        audio,
        parallelism_level(None),
    )
