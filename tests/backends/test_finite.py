"""Logits that are NaN or infinite: computed again in float32, or an error of their recording, and never a text."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import max_whisper
from max_whisper import NonFiniteError, PrecisionWarning, Transcription
from max_whisper.backends.factory import load_max_model
from max_whisper.backends.finite import FiniteModel, FiniteTextDecoder, InFloat32
from max_whisper.backends.interface import CrossAttention, DecodedTexts, Prompts
from max_whisper.models.whisper.checkpoint import load_checkpoint, write_native
from max_whisper.runtime import compiling
from max_whisper.runtime.cpu import cpu_instructions
from max_whisper.runtime.devices import select_device
from max_whisper.transcriber import Transcriber
from tests.backends.recordings import SAMPLES, ScriptedTranscriber, assert_same_transcription, sample
from tests.decoding.scripted import Script, ScriptedModel, ScriptedState, dimensions

OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0.0},
    {"temperature": 0.0, "beam_size": 3},
    {"temperature": 0.6, "best_of": 2},
    {"temperature": 0.0, "word_timestamps": True, "language": "en"},
    {},
    {"chunking": "sequential", "multilingual": True, "beam_size": 2},
]


class SpoiledModel(ScriptedModel):
    """A scripted model whose logits are not finite in some windows, from some token on."""

    def __init__(self, script: Script, value: float, first: int) -> None:
        super().__init__(script)
        self.value = value
        self.first = first  # tokens of a text, the prompt among them, after which its logits are faulty

    @staticmethod
    def is_faulty(window: int) -> bool:
        return window % 2 == 1

    def start(self, features: list[int], *, group: int = 1, padding: Sequence[int] | None = None) -> "SpoiledState":
        rows = super().start(features, group=group, padding=padding)
        return SpoiledState(self, list(zip(rows.windows, rows.padding, strict=True)))

    def cross_attention(self, features: list[int], tokens: np.ndarray, n_text: int) -> CrossAttention:
        attention = super().cross_attention(features, tokens, n_text)
        faulty = [self.is_faulty(window) for window in features]
        attention.scores[faulty, 0, 1] = self.value
        return attention

    def synchronize(self, features: list[int]) -> None:
        """All is there."""


class SpoiledState(ScriptedState):
    def __init__(self, model: SpoiledModel, rows: Sequence[tuple[int, int]]) -> None:
        super().__init__(model.script, rows)
        self.model = model

    def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
        logits = super().advance(tokens, positions)
        for row, (window, pad, said) in enumerate(zip(self.windows, self.padding, self.tokens, strict=True)):
            if self.model.is_faulty(window) and len(said) - pad >= self.model.first:
                logits[row, -1, row % 100] = self.model.value
        return logits


class PlainModel(SpoiledModel):
    """The same without a fault."""

    @staticmethod
    def is_faulty(window: int) -> bool:
        return False


def noise(seed: int, n_windows: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(n_windows * 480_000, dtype=np.float32)


@pytest.fixture
def script() -> Script:
    return Script(dimensions("multilingual"), 3, silence=0.1)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("value", "first"), [(np.nan, 1), (np.inf, 5), (-np.inf, 12)])
def test_windows_that_fail_are_computed_in_float32(
    script: Script, options: dict[str, Any], value: float, first: int
) -> None:
    """Whichever token it begins at, alone and in a batch in which other windows are well."""
    loaded: list[PlainModel] = []

    def load() -> PlainModel:
        loaded.append(PlainModel(script, 0, 0))
        return loaded[-1]

    spoiled = SpoiledModel(script, value, first)
    model: Any = FiniteModel(spoiled, "scripted", InFloat32("scripted", "int8", load))
    plain: Any = PlainModel(script, 0, 0)
    audios = [noise(seed, 1 + seed % 2) for seed in range(3)]
    with pytest.warns(PrecisionWarning) as caught:
        together = list(ScriptedTranscriber(model).transcribe_many(audios, batch_size=3, **options))
    for audio, ours in zip(audios, together, strict=True):
        assert isinstance(ours, Transcription)
        expected = ScriptedTranscriber(plain).transcribe(audio, **options)
        assert_same_transcription(ours, expected)
        assert_same_transcription(ScriptedTranscriber(model).transcribe(audio, **options), expected)
    assert len(loaded) == 1
    assert loaded[0].n_encoded > 0
    assert [str(warning.message) for warning in caught] == [
        "scripted: int8 gives NaN or infinite logits; windows where it does are computed in float32"
    ]


def test_languages_are_detected_in_float32(script: Script) -> None:
    model: Any = FiniteModel(
        SpoiledModel(script, np.nan, 1), "scripted", InFloat32("scripted", "int8", lambda: PlainModel(script, 0, 0))
    )
    plain: Any = PlainModel(script, 0, 0)
    with pytest.warns(PrecisionWarning):
        ours = [ScriptedTranscriber(model).detect_language(noise(seed, 2), segments=2) for seed in range(4)]
    assert ours == [ScriptedTranscriber(plain).detect_language(noise(seed, 2), segments=2) for seed in range(4)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_an_error_of_its_own_recording_alone(script: Script, options: dict[str, Any]) -> None:
    """In float32, where there is no other precision; the others of the batch have what they have alone."""
    model: Any = FiniteModel(SpoiledModel(script, np.nan, 5), "scripted")
    plain: Any = PlainModel(script, 0, 0)
    audios = [noise(seed, 1 + seed % 2) for seed in range(6)]
    outcomes = list(ScriptedTranscriber(model).transcribe_many(audios, batch_size=3, **options))
    for audio, outcome in zip(audios, outcomes, strict=True):
        if isinstance(outcome, NonFiniteError):
            assert str(outcome).startswith("scripted: its logits are NaN or infinite for this recording, in float32")
            with pytest.raises(NonFiniteError):
                ScriptedTranscriber(model).transcribe(audio, **options)
        else:
            assert isinstance(outcome, Transcription)
            assert_same_transcription(outcome, ScriptedTranscriber(plain).transcribe(audio, **options))
    assert 2 <= sum(isinstance(outcome, NonFiniteError) for outcome in outcomes) <= 5


@pytest.mark.parametrize("options", [{}, {"beam_size": 3}], ids=str)
@pytest.mark.parametrize("spoil", ["sum", "no speech"])
def test_whole_texts_are_decoded_in_float32(options: dict[str, Any], spoil: str, nano: Transcriber) -> None:
    """Those that the model itself decodes: window 1 of a batch of three."""
    checkpoint, device = load_checkpoint("nano"), select_device("cpu")
    inner: Any = load_max_model(checkpoint, device)

    def spoiled(texts: list[DecodedTexts]) -> list[DecodedTexts]:
        if len(texts) < 2:
            return texts
        if spoil == "no speech":
            return [texts[0], replace(texts[1], no_speech_prob=float("nan")), *texts[2:]]
        for text in (*texts[1].ended, *texts[1].going_on):
            text.sum_logprob = float("nan")
            text.tokens = [0] * 20
        return texts

    class Spoiled:
        dims, log10_mel, encode, select, join = inner.dims, inner.log10_mel, inner.encode, inner.select, inner.join

        def decode_greedily(self, *given: Any) -> list[DecodedTexts]:
            return spoiled(inner.decode_greedily(*given))

        def decode_with_beams(self, *given: Any) -> list[DecodedTexts]:
            return spoiled(inner.decode_with_beams(*given))

        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

    transcriber = ScriptedTranscriber.__new__(ScriptedTranscriber)
    transcriber.dims = inner.dims
    faulty: Any = Spoiled()
    audios = [sample(name) for name in ("weather.flac", "greeting.ogg", "kitchen.wav")]
    transcriber.model = FiniteTextDecoder(faulty, "nano", InFloat32("nano", "int8", lambda: inner))
    with pytest.warns(PrecisionWarning, match="nano: int8 gives NaN"):
        outcomes = list(transcriber.transcribe_many(audios, batch_size=3, temperature=0.0, **options))
    for audio, outcome in zip(audios, outcomes, strict=True):
        assert isinstance(outcome, Transcription)
        assert_same_transcription(outcome, nano.transcribe(audio, temperature=0.0, **options))


def test_a_text_beyond_the_context_has_no_logits_to_be_computed_again(nano: Transcriber) -> None:
    """Another window of the batch, with more padding, goes on."""
    plain, exact = (max_whisper.load_model("nano", device="cpu").model for _ in range(2))
    assert isinstance(plain, FiniteModel)
    assert isinstance(exact, FiniteModel)

    class Spoiled:
        """Of the second window no logits are finite."""

        def __init__(self, state: Any) -> None:
            self._state = state

        def advance(self, tokens: np.ndarray, positions: Sequence[int]) -> np.ndarray:
            logits = np.array(self._state.advance(tokens, positions))
            logits[1] = np.nan
            return logits

    log_mel = np.random.default_rng(0).standard_normal((2, 80, 3000), dtype=np.float32)
    tokens = np.random.default_rng(1).integers(0, 50_000, (2, 450))
    watched, padding = plain.watched, [224, 0]
    state = watched.start(watched.encode(log_mel), padding=padding)
    expected = [state.advance(tokens[:, :448], [447])[0], state.advance(tokens[:, 448:], [0, 1])[0]]

    model = FiniteModel(watched, "nano", InFloat32("nano", "int8", lambda: exact.watched))
    start = watched.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watched, "start", lambda *given, **named: Spoiled(start(*given, **named)))
        spoiled = model.start(model.encode(log_mel), padding=padding)
    with pytest.warns(PrecisionWarning):
        first = spoiled.advance(tokens[:, :448], [447])
    assert np.isfinite(first).all()
    second = spoiled.advance(tokens[:, 448:], [0, 1])
    for ours, theirs in zip((first, second), expected, strict=True):
        np.testing.assert_array_equal(ours[0], theirs)


def test_prompts_of_some_windows() -> None:
    prompts = Prompts(np.arange(12).reshape(3, 4), [0, 2, 1], 3, [5, 6, 7])
    chosen = prompts.of([0, 2])
    assert chosen.tokens.tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert (chosen.padding, chosen.sot_index, chosen.max_new_tokens) == ([0, 1], 3, [5, 7])


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Saves nano in float32 with changed weights; compiled graphs are shared with other tests."""
    compiled = compiling.compiled_dir()
    monkeypatch.setattr(compiling, "compiled_dir", lambda: compiled)
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path / "cache"))

    def save(name: str, change: Callable[[dict[str, np.ndarray]], None], dtype: Any = np.float16) -> Path:
        nano = load_checkpoint("nano")
        arrays = {key: np.array(nano.weights[key], dtype=dtype) for key in nano.weights}
        change(arrays)
        path = tmp_path / f"{name}.safetensors"
        write_native(path, arrays, nano.dims, name=name)
        return path

    return save


def too_great_for_bfloat16(arrays: dict[str, np.ndarray]) -> None:
    """A channel that is always 0, with weights that are finite in float32 and infinite as bfloat16: 0 or NaN."""
    arrays["encoder.conv1.weight"][7] = 0
    arrays["encoder.conv1.bias"][7] = 0
    arrays["encoder.conv2.weight"][:, 7] = np.finfo(np.float32).max


@pytest.mark.parametrize("compute_type", ["bfloat16", "int8"])
def test_what_half_precision_cannot_hold(save: Callable[..., Path], compute_type: str) -> None:
    def without_channel(arrays: dict[str, np.ndarray]) -> None:
        arrays["encoder.conv1.weight"][7] = 0
        arrays["encoder.conv1.bias"][7] = 0

    model = max_whisper.load_model(
        save("great", too_great_for_bfloat16, np.float32), device="cpu", compute_type=compute_type
    )
    if cpu_instructions() == "amx":  # whose float32 is made of bfloat16
        with pytest.raises(NonFiniteError), pytest.warns(PrecisionWarning):
            model.transcribe(SAMPLES / "weather.flac")
        return
    expected = max_whisper.load_model(save("zero", without_channel, np.float32), device="cpu")
    with pytest.warns(PrecisionWarning) as caught:
        greedy, beams = (model.transcribe(SAMPLES / "weather.flac", beam_size=beam_size) for beam_size in (None, 3))
    assert greedy == expected.transcribe(SAMPLES / "weather.flac")
    assert beams == expected.transcribe(SAMPLES / "weather.flac", beam_size=3)
    assert "weather" in greedy.text
    assert "weather" in beams.text
    assert [Path(warning.filename) for warning in caught] == [Path(__file__)]


def too_great(arrays: dict[str, np.ndarray]) -> None:
    arrays["decoder.ln.weight"][:] = 3e38


def too_great_in_the_encoder(arrays: dict[str, np.ndarray]) -> None:
    arrays["encoder.blocks.0.mlp.2.bias"][:] = np.resize([3e38, -3e38], 192)


@pytest.mark.parametrize("change", [too_great, too_great_in_the_encoder])
@pytest.mark.parametrize(
    "loading", [{}, {"compute_type": "int8"}, {"backend": "torch"}, {"backend": "hybrid"}], ids=str
)
@pytest.mark.filterwarnings("ignore::max_whisper.PrecisionWarning")
def test_finite_weights_whose_logits_are_not(
    save: Callable[..., Path], change: Callable[..., None], loading: dict[str, Any]
) -> None:
    model = max_whisper.load_model(save("astray", change, np.float32), device="cpu", **loading)
    every: list[dict[str, Any]] = [{}, {"beam_size": 3}, {"temperature": 0.5}]
    for options in every:
        with pytest.raises(NonFiniteError, match="logits are NaN or infinite for this recording, in float32"):
            model.transcribe(SAMPLES / "weather.flac", language="en", sample_len=16, **options)
    with pytest.raises(NonFiniteError):
        model.detect_language(SAMPLES / "weather.flac")
    outcomes = list(model.transcribe_many([SAMPLES / "weather.flac"] * 2, language="en", sample_len=16))
    assert all(isinstance(outcome, NonFiniteError) for outcome in outcomes)


@pytest.mark.parametrize(
    "loading",
    [{}, {"compute_type": "int8"}, {"compute_type": "bfloat16"}, {"backend": "torch"}, {"backend": "hybrid"}],
    ids=str,
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_faulty_weights_are_refused(save: Callable[..., Path], loading: dict[str, Any], value: float) -> None:
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays["decoder.blocks.0.mlp.0.weight"][3, 4:6] = value

    path = save("spoiled", spoil)
    kind = "NaN" if np.isnan(value) else "infinite"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):  # nothing of it is kept
            with pytest.raises(
                max_whisper.CheckpointError,
                match=rf"spoiled\.safetensors: tensor decoder\.blocks\.0\.mlp\.0\.weight holds 2 {kind} of 147456",
            ):
                max_whisper.load_model(path, device="cpu", **loading)


def test_weights_are_looked_at_once(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The packed file has passed."""
    path = save("well", lambda arrays: None)
    checks: list[object] = []
    monkeypatch.setattr("max_whisper.models.files.tensors.Weights.check_finite", lambda *given: checks.append(given))
    for _ in range(2):
        max_whisper.load_model(path, device="cpu", compute_type="int8")
    assert len(checks) == 1


def test_the_graphs_of_max_refuse_them_too(save: Callable[..., Path]) -> None:
    """MAX's own operations, as on a GPU: before anything is compiled."""
    from max_whisper.backends.max_graph import MaxGraphModel

    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays["encoder.ln_post.bias"][0] = np.nan

    with pytest.raises(max_whisper.CheckpointError, match=r"tensor encoder\.ln_post\.bias holds 1 NaN of 192"):
        MaxGraphModel(load_checkpoint(save("spoiled", spoil)), select_device("cpu"))
