"""A Whisper model for CPUs: graphs of a few operations in Mojo that do many layers each.

Activations are float32 between layers; products are of 8-bit integers, bfloat16 or float32. Keys and values are kept as
bfloat16, or as float32 for that, cut into tiles as the products read them (kernels/attention/packing.mojo).
"""

from max.dtype import DType
from max.graph import BufferType, DeviceRef, Graph, TensorType, TensorValue, Weight, ops
from max.graph import Module as GraphModule

from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.graphs.log_mel import add_log10_mel
from max_whisper.models.whisper.graphs.packing import BLOCK, Packing, decoder_block, encoder_block, packed_arrays
from max_whisper.runtime.kernels import calling_kernels

HEAD = 64
WEIGHTS = {
    "int8": DType.int8,
    "bfloat16": DType.bfloat16,
    "float16": DType.float16,
    "float32": DType.float32,
    "bfloat16x2": DType.float16,
    "bfloat16x3": DType.float32,
}
"""What the operations call weights of each of `packing.FORMATS`."""
INSTRUCTIONS = ("amx", "avx512_bf16", "avx512_vnni", "avx512", "avx_vnni", "avx2", "i8mm", "dotprod", "plain")
"""What products are made of; each is named by what it has beyond the next.

amx: Intel's tiles, of int8 and bfloat16. avx512_bf16: AVX-512 with dot products of both. avx512_vnni: of int8. avx512:
of neither. avx_vnni: AVX2 with dot products of int8. avx2: without. i8mm: Arm's matrix products of int8 and bfloat16.
dotprod: Arm's dot products of int8. plain: registers of 128 bits, which every CPU has.

Where there is no product of int8 or of bfloat16, the values are widened to int16 or float32 first.
"""

STEP_INPUTS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "tokens": ("int64", ("windows", "beams", "length")),  # as many beams as slots, or one, which has the first slot
    "position_ids": ("int64", ("windows", "beams", "length")),  # of each token in its text
    "cache_length": ("int64", (1,)),  # tokens that the caches hold
    "padding": ("int64", ("windows",)),  # how many of the first tokens stand for nothing
    "positions": ("int64", ("positions",)),  # indices of the tokens after which logits are wanted
    "cache_indirection": ("uint16", ("windows", "slots", "capacity")),  # the slot that holds each position of a beam
    "n_blocks": ("int64", (1,)),  # after how many blocks to stop
}
"""Inputs of the graph `decoder` between the caches and the output of cross_attention, by the operation's names."""
SAMPLING_INPUTS: dict[str, tuple[str, ...]] = {
    "prompts": ("windows", "length"),
    "padding": ("windows",),  # how many of a prompt's first tokens stand for nothing
    "max_new_tokens": ("windows",),
    "suppress_tokens": ("suppressed",),  # tokens that never come, ascending
    "begin_suppress_tokens": ("suppressed_at_begin",),  # tokens that do not come first, ascending
    "sot_index": (),  # which token of each prompt is <|startoftranscript|>
    "no_speech_token": (),
    "end_of_text": (),  # the token that ends a text
    "first_timestamp": (),  # -1 where there are no rules for timestamps
    "last_initial_timestamp": (),  # the latest timestamp that a text may begin with; -1 where there is no limit
}
"""Inputs of the graphs `greedy` and `beams`, int64; the operations have them by these names, in this order."""


def block_bytes(packing: Packing) -> int:
    """Bytes of one head's keys or values of 32 positions."""
    return BLOCK * HEAD * (4 if packing.tokens in ("float16", "float32") else 2)


def reader(packing: Packing, instructions: str) -> str:
    """The instructions of the decoder, which reads what the encoder's leave.

    AMX has no products of float32; for as few rows as tokens are, sums of bfloat16 would be more to read.
    """
    is_float = packing.tokens in ("float16", "float32")
    return "avx512_bf16" if is_float and instructions == "amx" else instructions


def head_bytes(positions: int, packing: Packing) -> int:
    """Bytes of one head's keys and values, in whole blocks of 32 positions."""
    return 2 * -(-positions // BLOCK) * block_bytes(packing)


def fits(dims: ModelDimensions) -> bool:
    """Whether the operations can compute a model of these sizes: heads of 64, as every published model has."""
    return (
        dims.n_mels % 16 == 0
        and dims.n_audio_state == dims.n_text_state
        and dims.n_audio_state == HEAD * dims.n_audio_head
        and dims.n_text_state == HEAD * dims.n_text_head
    )


@calling_kernels()
def build_fused_graphs(dims: ModelDimensions, *, packing: Packing, instructions: str) -> GraphModule:
    """Trace the graphs of a model for a CPU in one module.

    encoder: log-mel windows [batch, n_mels, 2 * n_audio_ctx]; after how many blocks to stop, int64 [1]: all of them,
        with ln_post, or fewer, without
        -> features [batch, n_audio_ctx, n_audio_state].
    cross_attention: features -> keys and values of all decoder layers, uint8 [batch, n_text_layer, bytes].
    decoder: caches uint8 [windows * slots, n_text_layer, bytes], updated in place; STEP_INPUTS; the output of
        cross_attention -> logits [windows, beams, positions, n_vocab].
    greedy: caches [windows, n_text_layer, bytes], nothing of which is read; SAMPLING_INPUTS; the output of
        cross_attention -> tokens int64 [windows, n_text_ctx], how many of them count, int64 [windows], the sum of
        their natural log probabilities, float64 [windows], and the probability of no speech, float32 [windows].
    beams: caches [windows * beams, n_text_layer, bytes]; to be filled, texts int64 [windows, texts, n_text_ctx], their
        lengths, int64 [windows, texts], and the sums of their natural log probabilities, float32 [windows, texts], as
        `decoder_beams` has them; then as greedy -> the probability of no speech, float32 [windows].
    log10_mel: see `add_log10_mel`.

    packing: the formats of the weights, which are those of `packing.packed_arrays`. instructions: one of INSTRUCTIONS.
    """
    cpu = DeviceRef.CPU()
    module = GraphModule()
    add_log10_mel(module)
    decoding = reader(packing, instructions)
    arrays = packed_arrays(dims, packing)

    def parameters(form: str, instructions: str = instructions) -> dict[str, bool | int | str | DType]:
        return {"instructions": instructions, "weight": WEIGHTS[form]}

    def weight(name: str) -> TensorValue:
        array = arrays[name]
        return TensorValue(Weight(name, DType[array.dtype], array.shape, cpu))

    def tensor(dtype: DType, *shape: int | str) -> TensorType:
        return TensorType(dtype, list(shape), cpu)

    features = tensor(DType.float32, "batch", dims.n_audio_ctx, dims.n_audio_state)
    log_mel = tensor(DType.float32, "batch", dims.n_mels, 2 * dims.n_audio_ctx)
    n_blocks = tensor(DType.int64, 1)
    with Graph("encoder", input_types=[log_mel, n_blocks], module=module) as graph:
        mel, stop = (value.tensor for value in graph.inputs)
        inputs = [mel, weight("encoder.convolutions"), weight("encoder.positional_embedding")]
        (x,) = ops.custom("encoder_convolutions", cpu, inputs, [features], parameters(packing.convolutions))
        inputs = [x.tensor, stop, weight("encoder.blocks"), weight("encoder.offsets"), weight("encoder.ln_post")]
        blocks = {**parameters(packing.windows), "layout": encoder_block(dims.n_audio_state).names}
        graph.output(*ops.custom("encoder_blocks", cpu, inputs, [features], blocks))

    bytes_of_cross = dims.n_text_head * head_bytes(dims.n_audio_ctx, packing)
    with Graph("cross_attention", input_types=[features], module=module) as graph:
        result = tensor(DType.uint8, "batch", dims.n_text_layer, bytes_of_cross)
        inputs = [graph.inputs[0].tensor, weight("cross_attention")]
        graph.output(
            *ops.custom("cross_keys_values", cpu, inputs, [result], {**parameters(packing.windows), "reader": decoding})
        )

    names = ("decoder.blocks", "decoder.offsets", "decoder.embedding", "decoder.positional_embedding")
    input_types = [
        BufferType(DType.uint8, ["rows", dims.n_text_layer, "bytes"], cpu),
        *(tensor(DType[dtype], *shape) for dtype, shape in STEP_INPUTS.values()),
        tensor(DType.uint8, "windows", dims.n_text_layer, bytes_of_cross),
    ]
    with Graph("decoder", input_types=input_types, module=module) as graph:
        caches, *tensors = graph.inputs
        values = [caches.buffer, *(value.tensor for value in tensors), *map(weight, names)]
        logits = tensor(DType.float32, "windows", "beams", "positions", dims.n_vocab)
        step = {**parameters(packing.tokens, decoding), "audio": dims.n_audio_ctx}
        step["layout"] = decoder_block(dims.n_text_state).names
        graph.output(*ops.inplace_custom("decoder_step", cpu, values, [logits], step))

    sampling = {**step, "n_vocab": dims.n_vocab}
    sampling_inputs = [
        *(tensor(DType.int64, *shape) for shape in SAMPLING_INPUTS.values()),
        tensor(DType.uint8, "windows", dims.n_text_layer, bytes_of_cross),
    ]
    input_types = [BufferType(DType.uint8, ["windows", dims.n_text_layer, "bytes"], cpu), *sampling_inputs]
    with Graph("greedy", input_types=input_types, module=module) as graph:
        caches, *tensors = graph.inputs
        values = [caches.buffer, *(value.tensor for value in tensors), *map(weight, names)]
        results = [
            tensor(DType.int64, "windows", dims.n_text_ctx),
            tensor(DType.int64, "windows"),
            tensor(DType.float64, "windows"),
            tensor(DType.float32, "windows"),
        ]
        graph.output(*ops.inplace_custom("decoder_greedy", cpu, values, results, sampling))

    input_types = [
        BufferType(DType.uint8, ["rows", dims.n_text_layer, "bytes"], cpu),
        BufferType(DType.int64, ["windows", "texts", dims.n_text_ctx], cpu),
        BufferType(DType.int64, ["windows", "texts"], cpu),
        BufferType(DType.float32, ["windows", "texts"], cpu),
        *sampling_inputs,
    ]
    with Graph("beams", input_types=input_types, module=module) as graph:
        buffers, tensors = graph.inputs[:4], graph.inputs[4:]
        values = [*(value.buffer for value in buffers), *(value.tensor for value in tensors), *map(weight, names)]
        probs = tensor(DType.float32, "windows")
        graph.output(*ops.inplace_custom("decoder_beams", cpu, values, [probs], sampling))
    return module
