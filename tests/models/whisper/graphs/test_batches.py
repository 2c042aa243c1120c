"""Rows of a batch are what they are alone: windows, hypotheses, prompts of different lengths, reordering."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from max_whisper.backends.fused import FusedModel
from max_whisper.backends.graph_model import GraphFeatures, GraphModel
from max_whisper.backends.interface import DecoderState
from max_whisper.backends.max_graph import MaxGraphModel
from max_whisper.backends.reference import TorchModel
from max_whisper.diagnostics.parity import LIMITS
from max_whisper.models.whisper.checkpoint import Checkpoint
from max_whisper.runtime.devices import select_device

Noise = Callable[..., np.ndarray]
N_VOCAB = 51865


# What rounding does to logits of a standard deviation of about 1: the largest difference that is seen, doubled.
ROUNDING = {"float32": LIMITS["logits"], "bfloat16": 0.1, "int8": 0.5}


@pytest.fixture(scope="module", params=["MAX's own", *ROUNDING])
def model(request: pytest.FixtureRequest, tiny: Checkpoint) -> GraphModel:
    if request.param == "MAX's own":
        compiled: MaxGraphModel = request.getfixturevalue("compiled_tiny")
        return compiled
    return FusedModel(tiny, select_device("cpu"), request.param)


@pytest.fixture(scope="module")
def features(model: GraphModel, noise: Noise) -> GraphFeatures:
    """Four windows."""
    return model.encode(noise(4))


@pytest.fixture(scope="module")
def alone(reference_tiny: TorchModel, noise: Noise) -> Callable[[int, np.ndarray], np.ndarray]:
    """The reference's logits [n, n_vocab] after each token of one text, for one of the windows."""
    encoded = reference_tiny.encode(noise(4))

    def logits(window: int, text: np.ndarray) -> np.ndarray:
        return reference_tiny.start(encoded[window : window + 1]).advance(text[None], range(len(text)))[0]

    return logits


def random_tokens(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, N_VOCAB, shape)


def assert_close(model: GraphModel, logits: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(logits, expected, atol=ROUNDING[model.compute_type], rtol=0)


def test_windows(model: GraphModel, features: GraphFeatures, alone: Callable) -> None:
    tokens = random_tokens(3, 4, 6)
    state = model.start(features)
    logits = np.concatenate([state.advance(tokens[:, :5], [1, 4]), state.advance(tokens[:, 5:], [0])], axis=1)
    for window in range(4):
        assert_close(model, logits[window], alone(window, tokens[window])[[1, 4, 5]])


def test_hypotheses_of_a_window_share_its_audio(model: GraphModel, features: GraphFeatures, alone: Callable) -> None:
    windows = [2, 0]
    tokens = random_tokens(4, 10, 7)
    state = model.start(model.select(features, windows), group=5)
    logits = [
        state.advance(tokens[:, :5], [2, 4]),
        state.advance(tokens[:, 5:6], [0]),
        state.advance(tokens[:, 6:], [0]),
    ]
    together = np.concatenate(logits, axis=1)
    assert together.shape == (10, 4, N_VOCAB)
    for row in range(10):
        assert_close(model, together[row], alone(windows[row // 5], tokens[row])[[2, 4, 5, 6]])


def greedy(state: DecoderState, prompt: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [rows, steps], each the most probable one, and the logits that they were chosen from."""
    logits = [state.advance(prompt, [prompt.shape[1] - 1])[:, 0]]
    chosen = [logits[0].argmax(axis=-1)]
    while len(chosen) < steps:
        logits.append(state.advance(chosen[-1][:, None], [0])[:, 0])
        chosen.append(logits[-1].argmax(axis=-1))
    return np.stack(chosen, axis=1), np.stack(logits, axis=1)


@pytest.mark.parametrize("group", [1, 2])
def test_prompts_of_different_lengths(model: GraphModel, features: GraphFeatures, alone: Callable, group: int) -> None:
    lengths = [1, 37, 200, 4]
    longest = max(lengths)
    padding = [longest - length for length in lengths]
    prompts = [random_tokens(length, group, length) for length in lengths]
    filler = [np.full((group, n), 50256 - n) for n in padding]
    together = np.concatenate([np.concatenate(pair, axis=1) for pair in zip(filler, prompts, strict=True)])

    tokens, logits = greedy(model.start(features, group=group, padding=padding), together, 20)
    assert np.isfinite(logits).all()
    for row in range(4 * group):
        window = row // group
        prompt = prompts[window][row % group]
        single = model.start(model.select(features, [window]))
        tokens_alone, _ = greedy(single, prompt[None], 20)
        assert tokens[row].tolist() == tokens_alone[0].tolist()
        text = np.concatenate([prompt, tokens[row, :-1]])
        assert_close(model, logits[row], alone(window, text)[len(prompt) - 1 :])


def test_padding_does_not_use_up_the_context(model: GraphModel, features: GraphFeatures, alone: Callable) -> None:
    text = random_tokens(5, 448)
    short = 60
    state = model.start(model.select(features, [0, 1]), padding=[0, 448 - short])
    first = np.stack([text, np.concatenate([np.zeros(448 - short, dtype=np.int64), text[:short]])])
    logits = state.advance(first, [447])
    assert_close(model, logits[0, 0], alone(0, text)[447])
    # The first text is at its end; the second goes on to its own.
    rest = np.stack([np.zeros(448 - short, dtype=np.int64), text[short:]])
    expected = alone(1, text)
    assert_close(model, logits[1, 0], expected[short - 1])
    assert_close(model, state.advance(rest[:, :-1], [0, 300])[1], expected[[short, short + 300]])
    assert_close(model, state.advance(rest[:, -1:], [0])[1, 0], expected[447])
    with pytest.raises(ValueError, match="449 tokens do not fit into a context of 448"):
        state.advance(rest[:, :1], [0])


@pytest.mark.parametrize(
    "orders",
    [
        [[4, 3, 2, 1, 0], [1, 2, 3, 4, 0]],  # permutations
        [[0, 0, 0, 0, 0], [4, 4, 4, 4, 4], [2, 2, 0, 0, 1]],  # duplicates
        [[0, 1, 2, 3, 4], [1, 1, 2, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 4, 4]],  # most stay where they are
    ],
)
def test_reordering(
    model: GraphModel, features: GraphFeatures, alone: Callable, orders: Sequence[Sequence[int]]
) -> None:
    windows, padding = [3, 1], [2, 0]
    state = model.start(model.select(features, windows), group=5, padding=padding)
    texts = random_tokens(6, 10, 6)
    state.advance(texts, [5])
    for step, order in enumerate(orders):
        sources = [*order, *(5 + source for source in reversed(order))]
        state.reorder(sources)
        texts = np.concatenate([texts[sources], random_tokens(7 + step, 10, 1)], axis=1)
        logits = state.advance(texts[:, -1:], [0])
    for row in range(10):
        window = row // 5
        assert_close(model, logits[row, 0], alone(windows[window], texts[row, padding[window] :])[-1])


def test_a_row_of_another_window_is_no_source(model: GraphModel, features: GraphFeatures) -> None:
    state = model.start(features, group=2)
    with pytest.raises(ValueError, match="another window"):
        state.reorder([0, 1, 2, 0, 4, 5, 6, 7])


@pytest.mark.parametrize("was_started", [False, True])
def test_windows_selected_and_joined(model: GraphModel, noise: Noise, alone: Callable, was_started: bool) -> None:
    features = model.encode(noise(4))
    if was_started:  # the keys and values of cross-attention are there
        model.start(features)
    assert model.select(features, [0, 1, 2, 3]) is features
    assert model.join([features]) is features
    parts = [[3, 1], [1, 2], [0]]
    selected = [model.select(features, part) for part in parts]
    windows = [3, 1, 1, 2, 0]
    joined = model.join(selected)
    assert joined.batch == 5
    del features
    text = random_tokens(8, 3)
    expected = [alone(window, text)[2] for window in range(4)]
    for handle, contained in zip([*selected, joined], [*parts, windows], strict=True):
        logits = model.start(handle).advance(np.repeat(text[None], len(contained), axis=0), [2])
        assert_close(model, logits[:, 0], np.stack([expected[window] for window in contained]))
