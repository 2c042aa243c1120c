"""The tokens of a decoder's step and the keys and values that it reads and adds to."""

from .attention import HEAD, Keys
from .tiles import load


@fieldwise_init
struct Text(ImplicitlyCopyable):
    """The tokens of a step: `length` for each of `group` hypotheses for each window.

    The caches have a slot for each hypothesis of a window. Of several hypotheses all have theirs; a single one has the first
    slot, and the others of its window, where there are any, may go on from it later.
    """

    var windows: Int
    var group: Int
    var slots: Int  # for each window
    var length: Int
    var width: Int
    var held: Int  # tokens that the caches hold before
    var padding: Int  # where, for each window, an int64 says how many of its first tokens stand for nothing
    var numbers: Int  # where, for each window, an int64 says which of the caches' it is
    var table: Int  # where for each window of the caches, if it has several slots, the table of `Indirection` is
    var capacity: Int  # positions of a line of the table

    def rows(self) -> Int:
        """Hypotheses of all windows."""
        return self.windows * self.group

    def tokens(self) -> Int:
        return self.rows() * self.length

    def heads(self) -> Int:
        return self.width // HEAD

    @always_inline
    def number(self, window: Int) -> Int:
        """Which window of the caches and of the padding one of the text's is."""
        return Int(load[DType.int64, 1](self.numbers + window * 8))

    @always_inline
    def slot(self, row: Int) -> Int:
        """Which slot of the caches a row of the text writes to."""
        return self.number(row // self.group) * self.slots + row % self.group

    @always_inline
    def first_seen(self, window: Int) -> Int:
        return Int(load[DType.int64, 1](self.padding + self.number(window) * 8))


@fieldwise_init
struct Caches(ImplicitlyCopyable):
    """Keys and values of all layers of some texts or windows: for each head its keys, then its values."""

    var address: Int
    var layers: Int
    var layer_size: Int
    var heads: Int
    var block: Int  # bytes of one head's keys or values of 32 positions

    @always_inline
    def keys(self, number: Int, layer: Int, head: Int, used: Int) -> Keys:
        var capacity = self.layer_size // (self.heads * 2 * self.block)
        var keys = self.address + (number * self.layers + layer) * self.layer_size + head * 2 * capacity * self.block
        return Keys(keys, keys + capacity * self.block, capacity, used)
