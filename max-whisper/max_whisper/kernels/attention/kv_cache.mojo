"""The keys and values of all layers and heads, of several rows: texts' slots, or windows' audio.

uint8 [rows, layers, bytes]; a layer has for each head its keys, then its values (packing.mojo), of `capacity` blocks of
32 positions each. Called by the decoder, and by cross_keys_values, which writes those of the audio.
"""

from ..instructions.isa import Isa
from ..memory.views import Bytes
from .packing import KeysValues, block_bytes


@fieldwise_init
struct KVCache[isa: Isa, kind: DType](ImplicitlyCopyable):
    """A cache; the decoder's `isa` is the one that reads it."""

    var bytes: Bytes  # [rows * layers, bytes of a layer]
    var layers: Int
    var heads: Int

    @staticmethod
    def layer_bytes(heads: Int, capacity: Int) -> Int:
        """Bytes of a layer with room for so many blocks of positions."""
        return heads * 2 * capacity * block_bytes[Self.isa, Self.kind]()

    @always_inline
    def capacity(self) -> Int:
        """Blocks of 32 positions that there is room for."""
        return self.bytes.columns // Self.layer_bytes(self.heads, 1)

    @always_inline
    def head(self, row: Int, layer: Int, head: Int, length: Int) -> KeysValues[Self.isa, Self.kind]:
        """One head's keys and values, of which so many positions are there."""
        var size = self.bytes.columns // (2 * self.heads)
        var layer_row = row * self.layers + layer
        return KeysValues[Self.isa, Self.kind].of(
            self.bytes.part(layer_row, 2 * head * size, 1, size),
            self.bytes.part(layer_row, (2 * head + 1) * size, 1, size),
            length,
        )
