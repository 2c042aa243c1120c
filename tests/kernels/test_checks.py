"""Operations say what is wrong with sizes, ids and capacities that do not fit, before they read any memory."""

from collections.abc import Callable

import numpy as np
import pytest
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession, Model
from max.graph import BufferType, DeviceRef, Graph, TensorType, ops
from max.graph import Module as GraphModule

from max_whisper.models.whisper.graphs.packing import decoder_block, encoder_block, linear_size
from max_whisper.runtime.kernels import packaged_kernels

WIDTH, LAYERS, N_MELS, LENGTH, AUDIO, N_VOCAB, N_TEXT_CTX = 64, 2, 16, 40, 40, 70, 50
FORM = "float32"
OPERATION = {"instructions": "plain", "weight": DType.float32}
HEAD_BLOCK = 32 * 64 * 4  # bytes of a head's keys, or values, of 32 positions
LAYER_OF_CROSS = 2 * 2 * HEAD_BLOCK  # 40 positions are two blocks
Arrays = dict[str, np.ndarray]


def types(arrays: Arrays) -> list[TensorType | BufferType]:
    """Inputs of the same types and ranks, whose sizes are all open."""
    kinds = {name: BufferType if name == "caches" else TensorType for name in arrays}
    return [
        kinds[name](DType[array.dtype.name], [f"{name}_{i}" for i in range(array.ndim)], DeviceRef.CPU())
        for name, array in arrays.items()
    ]


def block_weights(layout: str) -> Arrays:
    """All weights are zero; offsets are those of the packing."""
    parts = {"encoder": encoder_block, "decoder": decoder_block}[layout](WIDTH)
    return {"parameters": np.zeros((LAYERS, parts.size(FORM)), np.uint8), "offsets": parts.offsets(FORM)}


def convolutions() -> Arrays:
    sizes = [linear_size(WIDTH, 3 * channels, FORM) for channels in (N_MELS, WIDTH)]
    return {
        "log_mel": np.zeros((1, N_MELS, 2 * LENGTH), np.float32),
        "parameters": np.zeros(sum(sizes), np.uint8),
        "positional_embedding": np.zeros((LENGTH, WIDTH), np.float32),
    }


def encoder() -> Arrays:
    return {
        "x": np.zeros((1, LENGTH, WIDTH), np.float32),
        "n_blocks": np.array([LAYERS]),
        **block_weights("encoder"),
        "ln_post": np.zeros((2, WIDTH), np.float32),
    }


def cross() -> Arrays:
    return {
        "features": np.zeros((2, 64, WIDTH), np.float32),  # whole blocks: keys behind the last position are not written
        "parameters": np.zeros((LAYERS, linear_size(2 * WIDTH, WIDTH, FORM)), np.uint8),
    }


def step() -> Arrays:
    """Two windows of two beams, three tokens each, after five."""
    return {
        "caches": np.zeros((4, LAYERS, LAYER_OF_CROSS), np.uint8),
        "tokens": np.full((2, 2, 3), N_VOCAB - 1),
        "position_ids": np.full((2, 2, 3), N_TEXT_CTX - 1),
        "cache_length": np.array([5]),
        "padding": np.array([0, 2]),
        "positions": np.array([0, 2]),
        "cache_indirection": np.ones((2, 2, 64), np.uint16),
        "n_blocks": np.array([LAYERS]),
        "cross": np.zeros((2, LAYERS, LAYER_OF_CROSS), np.uint8),
        **block_weights("decoder"),
        "embedding": np.zeros(8 * WIDTH + linear_size(N_VOCAB, WIDTH, FORM), np.uint8),
        "positional_embedding": np.zeros((N_TEXT_CTX, WIDTH), np.float32),
    }


GOOD: dict[str, Callable[[], Arrays]] = {
    "encoder_convolutions": convolutions,
    "encoder_blocks": encoder,
    "cross_keys_values": cross,
    "decoder_step": step,
}


@pytest.fixture(scope="module")
def operations() -> dict[str, Model]:
    """Each operation, compiled together."""
    module, cpu = GraphModule(), DeviceRef.CPU()
    results: dict[str, list[int | str]] = {
        "encoder_convolutions": ["log_mel_0", LENGTH, WIDTH],
        "encoder_blocks": ["x_0", "x_1", "x_2"],
        "cross_keys_values": ["features_0", "parameters_0", LAYER_OF_CROSS],
        "decoder_step": ["tokens_0", "tokens_1", "positions_0", N_VOCAB],
    }
    parameters = {
        "encoder_convolutions": OPERATION,
        "encoder_blocks": {**OPERATION, "layout": encoder_block(WIDTH).names},
        "cross_keys_values": {**OPERATION, "reader": "plain"},
        "decoder_step": {**OPERATION, "audio": AUDIO, "layout": decoder_block(WIDTH).names},
    }
    for name, good in GOOD.items():
        dtype = DType.uint8 if name == "cross_keys_values" else DType.float32
        with Graph(name, input_types=types(good()), module=module, custom_extensions=[packaged_kernels()]) as graph:
            values = [value.buffer if isinstance(value.type, BufferType) else value.tensor for value in graph.inputs]
            call = ops.inplace_custom if name == "decoder_step" else ops.custom
            graph.output(*call(name, cpu, values, [TensorType(dtype, results[name], cpu)], parameters[name]))
    return InferenceSession(devices=[CPU()]).load_all(module, custom_extensions=[packaged_kernels()])


def execute(model: Model, arrays: Arrays) -> np.ndarray:
    return model.execute(*(Buffer.from_numpy(array) for array in arrays.values()))[0].to_numpy()


@pytest.mark.parametrize("operation", GOOD)
def test_sizes_that_fit_are_taken(operations: dict[str, Model], operation: str) -> None:
    assert (execute(operations[operation], GOOD[operation]()) == 0).all()


def cut(name: str, axis: int = -1, by: int = 1) -> Callable[[Arrays], None]:
    """An input that is shorter."""

    def change(arrays: Arrays) -> None:
        size = arrays[name].shape[axis] - by
        arrays[name] = np.ascontiguousarray(np.take(arrays[name], range(size), axis=axis))

    change.__name__ = f"{name}[{axis}] - {by}"
    return change


def put(name: str, value: int, index: int = 0) -> Callable[[Arrays], None]:
    """An input with another value."""

    def change(arrays: Arrays) -> None:
        arrays[name].flat[index] = value

    change.__name__ = f"{name} = {value}"
    return change


CASES: list[tuple[str, Callable[[Arrays], None], str]] = [
    ("encoder_convolutions", cut("log_mel", 1), "n_mels is 15, and must be a multiple of 16"),
    ("encoder_convolutions", cut("log_mel", 2), "frames of a log-mel window is 79, and must be 80"),
    ("encoder_convolutions", cut("parameters", 0), r"the parameters' bytes is \d+, and must be \d+"),
    (
        "encoder_convolutions",
        cut("positional_embedding", 0),
        "the length of positional_embedding is 39, and must be 40",
    ),
    ("encoder_convolutions", cut("positional_embedding", 1), "the width of positional_embedding is 63, and must be 64"),
    ("encoder_blocks", cut("x", 2), "the width is 63, and must be a multiple of 64"),
    ("encoder_blocks", cut("x", 1, LENGTH), "the length of a window is 0"),
    ("encoder_blocks", put("n_blocks", 3), "n_blocks is 3, and must be from 0 to 2"),
    ("encoder_blocks", put("n_blocks", -1), "n_blocks is -1, and must be from 0 to 2"),
    ("encoder_blocks", cut("parameters", 1, 4), "the parameters' bytes in a layer is"),
    ("encoder_blocks", cut("offsets", 0, 2), "offsets has 6 entries for 6 parts and their end"),
    ("encoder_blocks", put("offsets", 640, 1), r"part 0 of the parameters \(attn_ln .*\) has 640 bytes, .* have 512"),
    ("encoder_blocks", put("offsets", 64), "packed for another model, format or version"),
    ("encoder_blocks", cut("ln_post", 0), "rows of ln_post is 1, and must be 2"),
    ("encoder_blocks", cut("ln_post", 1), "the width of ln_post is 63, and must be 64"),
    ("cross_keys_values", cut("features", 2, 32), "the width is 32, and must be a multiple of 64"),
    ("cross_keys_values", cut("features", 1, 40), r"the result's bytes in a layer is 32768, and must be 16384"),
    ("cross_keys_values", cut("parameters", 1), "the parameters' bytes in a layer is"),
    ("decoder_step", put("tokens", N_VOCAB, 7), "tokens has 70 at 7, and must be below 70"),
    ("decoder_step", put("tokens", -1), "tokens has -1 at 0, and must be below 70"),
    ("decoder_step", put("position_ids", N_TEXT_CTX), "position_ids has 50 at 0, and must be below 50"),
    ("decoder_step", put("cache_length", 62), "cache_length is 62, and must be from 0 to 61"),
    ("decoder_step", put("cache_length", -1), "cache_length is -1, and must be from 0 to 61"),
    ("decoder_step", put("padding", -1), "padding of a window is -1, and must be from 0 to 64"),
    ("decoder_step", put("padding", 65), "padding of a window is 65, and must be from 0 to 64"),
    ("decoder_step", put("positions", 3), "positions has 3 at 0, and must be below 3"),
    ("decoder_step", put("cache_indirection", 2, 130), "a slot in cache_indirection is 2, and must be from 0 to 1"),
    ("decoder_step", cut("cache_indirection", 2, 1), "positions of cache_indirection is 63, .* a multiple of 32"),
    ("decoder_step", cut("cache_indirection", 1), "beams is 2, and must be 1"),
    ("decoder_step", put("n_blocks", 3), "n_blocks is 3, and must be from 0 to 2"),
    ("decoder_step", cut("caches", 0), "rows of the caches is 3, and must be 4"),
    ("decoder_step", cut("caches", 1), "layers of the caches is 1, and must be 2"),
    ("decoder_step", cut("caches", 2, 32), "bytes of a layer of the caches is 32736, and must be a multiple of 16384"),
    ("decoder_step", cut("cross", 0), "windows of cross is 1, and must be 2"),
    ("decoder_step", cut("cross", 1), "layers of cross is 1, and must be 2"),
    ("decoder_step", cut("cross", 2, 64), "bytes of a layer of cross is 32704, and must be 32768"),
    ("decoder_step", cut("padding", 0), "windows of padding is 1, and must be 2"),
    ("decoder_step", cut("position_ids", 2), "position_ids is 8, and must be 12"),
    ("decoder_step", put("offsets", 9, 3), r"part 2 of the parameters \(attn_ln .*\) has -\d+ bytes"),
    ("decoder_step", cut("parameters", 1, 8), "the parameters' bytes in a layer is"),
    ("decoder_step", cut("embedding", 0), "the embedding's bytes is"),
    ("decoder_step", cut("positional_embedding", 1, 8), "the width is 56, and must be a multiple of 64"),
]


@pytest.mark.parametrize(
    ("operation", "change", "message"), CASES, ids=[f"{case[0]}: {case[1].__name__}" for case in CASES]
)
def test_what_does_not_fit_is_refused(
    operations: dict[str, Model], operation: str, change: Callable[[Arrays], None], message: str
) -> None:
    arrays = GOOD[operation]()
    change(arrays)
    with pytest.raises(ValueError, match=f"{operation}: .*{message}|{operation}: {message}"):
        execute(operations[operation], arrays)
