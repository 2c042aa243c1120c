"""Work on rows, to be done beside products.

AMX computes a product while the rest of a core does other things, but only if these come between its instructions in
small pieces: a core has room for few tiles under way, and when that is used up it takes up nothing else either until one
is done.
"""


trait RowWork:
    """Something to do with each of some rows."""

    comptime TOGETHER: Int
    """Rows that are best worked on at once: chains of operations that wait for each other's results then wait less."""

    def rows[count: Int](self, first: Int):
        """Do it with so many rows from the first on."""
        ...


@fieldwise_init
struct NoWork(RowWork):
    """Nothing to do."""

    comptime TOGETHER = 1

    @always_inline
    def rows[count: Int](self, first: Int):
        pass


@always_inline
def do_rows[Work: RowWork, //](work: Work, first: Int, last: Int):
    """Do the work of rows `first` to `last`, that one not included."""
    var row = first
    while row + Work.TOGETHER <= last:
        work.rows[Work.TOGETHER](row)
        row += Work.TOGETHER
    while row < last:
        work.rows[1](row)
        row += 1
