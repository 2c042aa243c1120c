"""Which tensors a Whisper checkpoint holds, and of which shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from max_whisper.checks import one_line
from max_whisper.errors import CheckpointError
from max_whisper.models.files.tensors import Shape
from max_whisper.models.whisper.dimensions import ModelDimensions


def expected_shapes(dims: ModelDimensions) -> dict[str, Shape]:
    """Name and shape of every tensor of a model of these dimensions, in the order of its state dict.

    The names and shapes are those of openai-whisper's `Whisper(dims).state_dict()` (whisper/model.py). The encoder's
    sinusoidal positions are among them; the decoder's causal mask is not.
    """
    audio, text = dims.n_audio_state, dims.n_text_state
    shapes: dict[str, Shape] = {
        "encoder.positional_embedding": (dims.n_audio_ctx, audio),
        "encoder.conv1.weight": (audio, dims.n_mels, 3),
        "encoder.conv1.bias": (audio,),
        "encoder.conv2.weight": (audio, audio, 3),
        "encoder.conv2.bias": (audio,),
    }
    for layer in range(dims.n_audio_layer):
        shapes.update(_block(f"encoder.blocks.{layer}", audio, ("attn",)))
    shapes.update(_layer_norm("encoder.ln_post", audio))
    shapes["decoder.positional_embedding"] = (dims.n_text_ctx, text)
    shapes["decoder.token_embedding.weight"] = (dims.n_vocab, text)
    for layer in range(dims.n_text_layer):
        shapes.update(_block(f"decoder.blocks.{layer}", text, ("attn", "cross_attn")))
    shapes.update(_layer_norm("decoder.ln", text))
    return shapes


def _block(prefix: str, state: int, attentions: tuple[str, ...]) -> Iterator[tuple[str, Shape]]:
    for attention in attentions:
        for projection in ("query", "key", "value", "out"):
            yield f"{prefix}.{attention}.{projection}.weight", (state, state)
            if projection != "key":
                yield f"{prefix}.{attention}.{projection}.bias", (state,)
        yield from _layer_norm(f"{prefix}.{attention}_ln", state)
    for index, (rows, columns) in ((0, (4 * state, state)), (2, (state, 4 * state))):
        yield f"{prefix}.mlp.{index}.weight", (rows, columns)
        yield f"{prefix}.mlp.{index}.bias", (rows,)
    yield from _layer_norm(f"{prefix}.mlp_ln", state)


def _layer_norm(prefix: str, state: int) -> Iterator[tuple[str, Shape]]:
    yield f"{prefix}.weight", (state,)
    yield f"{prefix}.bias", (state,)


def read_dims(source: str, values: object) -> ModelDimensions:
    """Checked dimensions out of a checkpoint's `dims` dictionary.

    Raises CheckpointError, naming `source`, where a dimension is absent, unknown, not a positive number, or at odds
    with another one.
    """
    names = [field.name for field in fields(ModelDimensions)]
    if not isinstance(values, Mapping):
        raise CheckpointError(f"{source}: its dims are not a dictionary; save them as model.dims.__dict__")
    if missing := [name for name in names if name not in values]:
        raise CheckpointError(
            f"{source}: its dims lack {', '.join(missing)}; not a Whisper checkpoint, or an edited one"
        )
    if unknown := [str(name) for name in values if name not in names]:
        raise CheckpointError(
            f"{source}: its dims have the unknown entry {one_line(repr(unknown[0]))}; not a Whisper checkpoint"
        )
    for name in names:
        value = values[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointError(f"{source}: {name} is {one_line(repr(value))}, where a positive whole number belongs")
    dims = ModelDimensions(**values)
    for part, state, heads in (
        ("audio", dims.n_audio_state, dims.n_audio_head),
        ("text", dims.n_text_state, dims.n_text_head),
    ):
        if state % heads:
            raise CheckpointError(
                f"{source}: n_{part}_state {state} does not divide into n_{part}_head {heads} heads;"
                " the dimensions are damaged"
            )
    if dims.n_audio_state != dims.n_text_state:
        raise CheckpointError(
            f"{source}: n_audio_state {dims.n_audio_state} and n_text_state {dims.n_text_state} differ;"
            " Whisper's encoder and decoder have one width"
        )
    if dims.n_audio_state % 2:
        raise CheckpointError(f"{source}: n_audio_state {dims.n_audio_state} is odd; the dimensions are damaged")
    if dims.n_mels not in (80, 128):
        raise CheckpointError(f"{source}: n_mels is {dims.n_mels}; Whisper's spectrograms have 80 or 128 mel bins")
    return dims


def check_tensors(source: str, stored: Mapping[str, Shape], expected: Mapping[str, Shape]) -> None:
    """Raise CheckpointError, naming `source` and the first tensor at fault, where `stored` is not just `expected`."""
    if missing := [name for name in expected if name not in stored]:
        raise CheckpointError(
            f"{source}: tensor {missing[0]} is missing{_others(missing)};"
            " the file is incomplete or its dimensions are those of another model"
        )
    if extra := [name for name in stored if name not in expected]:
        raise CheckpointError(
            f"{source}: tensor {one_line(extra[0])} is no part of a Whisper model of its dimensions{_others(extra)};"
            " save the plain model, without adapters or other parts"
        )
    for name, shape in expected.items():
        if tuple(stored[name]) != shape:
            raise CheckpointError(
                f"{source}: tensor {name} has the shape {list(stored[name])}, its dimensions ask for {list(shape)};"
                " the weights and the dimensions are not of the same model"
            )


def _others(names: list[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
