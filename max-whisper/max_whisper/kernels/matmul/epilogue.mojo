"""Epilogues: the work on the rows of one block of results that goes on beside the product of the next block.

AMX computes a product while the rest of a core does other things, but only if these come between its instructions in
small pieces: a core has room for few tiles under way, and when that is used up it takes up nothing else either until
one is done. So `gemm` takes the epilogue of another block and runs some of its rows after each instruction (what
CUTLASS calls an epilogue, pipelined in software). Products that are not of AMX run it after them.
"""


trait Epilogue:
    """What is done with each row of a block of results."""

    comptime ROWS: Int
    """Rows that are best done at once: chains of operations that wait for each other's results then wait less."""

    def apply[count: Int](self, row: Int):
        """Do `count` rows from a row on."""
        ...


@fieldwise_init
struct NoEpilogue(Epilogue):
    """Nothing to do."""

    comptime ROWS = 1

    @always_inline
    def apply[count: Int](self, row: Int):
        pass


@always_inline
def apply_rows[E: Epilogue, //](epilogue: E, first: Int, last: Int):
    """Do rows `first` to `last`, that one not included."""
    var row = first
    while row + E.ROWS <= last:
        epilogue.apply[E.ROWS](row)
        row += E.ROWS
    while row < last:
        epilogue.apply[1](row)
        row += 1
