"""An operation that reads where a graph tells it to, also outside its input."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext

from ..memory.views import View, row_of, view_of


@extensibility.register("load_at")
struct LoadAt:
    """The value of x float32 [rows, columns] at row place[0] and column place[1], int64 [2], to float32 [1]."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        result: OutputTensor[dtype=DType.float32, rank=1, ...],
        x: InputTensor[dtype=DType.float32, rank=2, ...],
        place: InputTensor[dtype=DType.int64, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        var given = row_of(place)
        row_of(result)[0] = view_of(x).load(Int(given[0]), Int(given[1]))
