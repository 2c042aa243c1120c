"""What operations check when they are called, before they read any memory.

Each check raises an error that names the operation, the input, what it is and what it must be; in Python it is a
ValueError. All take the time of the shapes, ids and positions that are checked, never that of weights or activations.
"""

from ..attention.packing import HEAD
from ..memory.views import Bytes, View


def expect_equal(operation: StaticString, name: StaticString, given: Int, expected: Int) raises:
    """A number that another one determines."""
    if given != expected:
        raise Error(operation, ": ", name, " is ", given, ", and must be ", expected)


def expect_range(operation: StaticString, name: StaticString, given: Int, lowest: Int, highest: Int) raises:
    """A number from the lowest to the highest, both included."""
    if given < lowest or given > highest:
        raise Error(operation, ": ", name, " is ", given, ", and must be from ", lowest, " to ", highest)


def expect_at_least(operation: StaticString, name: StaticString, given: Int, lowest: Int) raises:
    """A number with no upper limit."""
    if given < lowest:
        raise Error(operation, ": ", name, " is ", given, ", and must be at least ", lowest)


def expect_multiple(operation: StaticString, name: StaticString, given: Int, factor: Int) raises:
    """A number of whole groups, at least one."""
    if given <= 0 or given % factor:
        raise Error(operation, ": ", name, " is ", given, ", and must be a multiple of ", factor)


def expect_ids(operation: StaticString, name: StaticString, ids: View[DType.int64], count: Int) raises:
    """Ids of so many things, from 0 on."""
    for row in range(ids.rows):
        for column in range(ids.columns):
            var id = Int(ids.load(row, column))
            if id < 0 or id >= count:
                var index = row * ids.columns + column
                raise Error(operation, ": ", name, " has ", id, " at ", index, ", and must be below ", count)


def expect_heads(operation: StaticString, width: Int) raises:
    """The width of a model: whole heads."""
    expect_multiple(operation, "the width", width, HEAD)


def expect_parts(
    operation: StaticString,
    names: StaticString,
    sizes: List[Int],
    parameters: Bytes,
    offsets: View[DType.int64],
) raises:
    """The layout of the parameters of each layer, uint8 [layers, bytes]: parts of these sizes, one after the other.

    offsets: int64 [1, at least parts + 1], where each part begins and, after the last, where it ends.
    """
    if offsets.columns <= len(sizes):
        raise Error(operation, ": offsets has ", offsets.columns, " entries for ", len(sizes), " parts and their end")
    for i in range(len(sizes)):
        var given = Int(offsets[i + 1] - offsets[i])
        if offsets[i] < 0 or given != sizes[i]:
            raise Error(
                operation,
                ": part ",
                i,
                " of the parameters (",
                names,
                ") has ",
                given,
                " bytes, and must have ",
                sizes[i],
                ": they were packed for another model, format or version",
            )
    expect_equal(operation, "the first part's offset", Int(offsets[0]), 0)
    expect_equal(operation, "the parameters' bytes in a layer", parameters.columns, Int(offsets[len(sizes)]))
