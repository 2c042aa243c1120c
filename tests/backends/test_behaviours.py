"""What a transcription does whatever the model: the behaviors that openai-whisper and faster-whisper test."""

import gc
import os
import pickle
import threading
import urllib.error
import urllib.request
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from max_whisper import AudioError, DownloadError, OptionError, TranscribeOptions, Transcription, load_model
from max_whisper.audio import SAMPLE_RATE
from max_whisper.models.whisper.tokenizer import get_tokenizer
from max_whisper.results import Segment, Word
from max_whisper.transcriber import Transcriber
from tests.backends.recordings import SAMPLES, cut, sample, seconds, silence


def words_of(transcription: Transcription) -> list[Word]:
    return [word for segment in transcription.segments for word in segment.words or ()]


def assert_well_formed(transcription: Transcription, duration: float) -> None:
    """What openai-whisper's tests ask of a result, and that times are in the recording and go forward."""
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    segments = transcription.segments
    assert transcription.text == "".join(segment.text for segment in segments)
    assert tokenizer.decode([token for segment in segments for token in segment.tokens]) == transcription.text
    assert [segment.id for segment in segments] == list(range(len(segments)))
    previous = 0.0
    for segment in segments:
        assert previous - 1e-6 <= segment.start <= segment.end <= duration + 0.01  # sums of float64, so not exactly
        previous = segment.end
        assert "".join(word.word for word in segment.words or ()) in ("", segment.text)


def assert_words_go_forward(transcription: Transcription) -> None:
    words = words_of(transcription)
    assert "".join(word.word for word in words) == transcription.text
    assert all(word.start <= word.end for word in words)
    assert all(0 < word.probability <= 1 for word in words)
    for word, following in pairwise(words):
        assert word.end <= following.start
    for segment in transcription.segments:
        assert segment.words
        # A first or last word that looks too long is cut to at most 0.7 s, and the segment keeps its own time.
        assert segment.start == pytest.approx(segment.words[0].start, abs=0.7)
        assert segment.end == pytest.approx(segment.words[-1].end, abs=0.7)


@pytest.mark.parametrize("language", [None, "en", "English"])
def test_a_recording_as_openai_whisper_tests_it(nano: Transcriber, language: str | None) -> None:
    audio = sample("dialogue.flac")
    result = nano.transcribe(SAMPLES / "dialogue.flac", language=language, temperature=0.0)
    assert result.language == "en"
    assert (result.language_probabilities is None) == (language is not None)
    assert_well_formed(result, seconds(audio))
    assert "good afternoon thomas what time is it" in result.text
    assert "the train leaves at four forty five" in result.text
    tokenizer = get_tokenizer(True, language="en", task="transcribe")
    begin = tokenizer.timestamp_begin
    for segment in result.segments:
        first, *text, last = segment.tokens
        offset = segment.seek / 100 - begin * 0.02
        assert segment.start == pytest.approx(offset + first * 0.02)
        assert segment.end == pytest.approx(offset + last * 0.02)
        assert tokenizer.decode(text) == segment.text
        assert all(token < tokenizer.eot for token in text)
        assert segment.temperature == 0
        assert segment.avg_logprob < 0
        assert 0 <= segment.no_speech_prob <= 1


@pytest.mark.parametrize("options", [{}, {"chunking": "vad", "batch_size": 4, "beam_size": 3}], ids=str)
def test_words_make_up_the_text_and_go_forward(nano: Transcriber, options: dict[str, Any]) -> None:
    result = nano.transcribe(SAMPLES / "one_day.flac", word_timestamps=True, **options)
    assert_well_formed(result, seconds(sample("one_day.flac")))
    assert_words_go_forward(result)
    assert len(words_of(result)) > 100


def test_words_are_where_they_are_said(nano: Transcriber) -> None:
    """As openai-whisper asks of one word; here of all digits, each of which can be cut out and heard alone."""
    audio = sample("digits.flac")
    words = words_of(nano.transcribe(audio, word_timestamps=True))
    assert "".join(word.word for word in words) == " my number is three seven eight four five seven"
    half = round(words[4].start * SAMPLE_RATE)
    assert nano.transcribe(audio[:half]).text.strip().startswith("my number is three")
    assert "three" not in nano.transcribe(audio[half:]).text


SILENCES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "words": {"word_timestamps": True, "hallucination_silence_threshold": 1.0},
    "filter": {"vad_filter": True, "word_timestamps": True},
    "chunks": {"chunking": "vad", "batch_size": 3, "word_timestamps": True},
    "beams": {"beam_size": 3, "language": "en"},
    "multilingual": {"multilingual": True, "language_detection_segments": 3},
    "clips": {"clip_timestamps": "1,2,50"},
}


@pytest.mark.parametrize("name", SILENCES)
@pytest.mark.parametrize("duration", [0.03, 35.0])
def test_silence_is_no_text(nano: Transcriber, name: str, duration: float) -> None:
    result = nano.transcribe(silence(duration), **SILENCES[name])
    assert (result.text, result.segments) == ("", ())
    assert result.language


@pytest.mark.parametrize("options", [{}, {"vad_filter": True}, {"chunking": "vad", "batch_size": 2}], ids=str)
def test_no_audio_is_an_error_that_says_so(nano: Transcriber, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="array"):
        nano.transcribe(np.zeros(0, np.float32), **options)
    path = tmp_path / "empty.wav"
    write_wave(path, np.zeros((0, 1), np.float32))
    with pytest.raises(AudioError, match=r"empty\.wav"):
        nano.transcribe(path, **options)


def test_silence_is_no_crash_where_nothing_is_taken_for_silence(nano: Transcriber) -> None:
    names = ("no_speech_threshold", "logprob_threshold", "compression_ratio_threshold")
    options: dict[str, Any] = dict.fromkeys(names)
    result = nano.transcribe(silence(32.0), word_timestamps=True, **options)
    assert_well_formed(result, 32.0)


def test_a_prefix_with_timestamps(nano: Transcriber) -> None:
    """The text goes on after the prefix, with its times; as in openai-whisper the prefix itself is not repeated."""
    whole = nano.transcribe(SAMPLES / "weather.flac")
    result = nano.transcribe(SAMPLES / "weather.flac", prefix="the weather in seattle", word_timestamps=True)
    assert whole.text == " the weather in seattle is cold and rainy this evening"
    assert result.text == " is cold and rainy this evening"
    assert_well_formed(result, seconds(sample("weather.flac")))
    assert_words_go_forward(result)


def test_a_filter_for_speech_keeps_the_times_of_the_words(nano: Transcriber) -> None:
    parts = [sample("timer_command.flac"), sample("kitchen.wav"), sample("digits.flac")]
    pauses = [silence(7.3), silence(4.1), silence(12.7), silence(3.0)]
    padded = np.concatenate([pauses[0], *(array for pair in zip(parts, pauses[1:], strict=True) for array in pair)])
    filtered = nano.transcribe(padded, vad_filter=True, word_timestamps=True)
    assert_well_formed(filtered, seconds(padded))
    assert_words_go_forward(filtered)

    alone = [nano.transcribe(part, word_timestamps=True) for part in parts]
    assert filtered.text == "".join(transcription.text for transcription in alone)
    offset, expected = 0.0, list[tuple[float, float]]()
    for pause, part, transcription in zip(pauses, parts, alone, strict=False):
        offset += seconds(pause)
        places = [(offset + word.start, offset + word.end) for word in words_of(transcription)]
        assert all(offset <= start <= end <= offset + seconds(part) for start, end in places)
        expected += places
        offset += seconds(part)
    times = [(word.start, word.end) for word in words_of(filtered)]
    np.testing.assert_allclose(times, expected, atol=0.5)
    assert np.median(np.abs(np.subtract(times, expected))) < 0.1


def write_wave(path: Path, channels: np.ndarray) -> None:
    """channels: float32 [n, channels] at 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels.shape[1])
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((channels * 32767).round().astype("<i2").tobytes())


def test_stereo_channels_apart(nano: Transcriber, tmp_path: Path) -> None:
    left, right = sample("timer_command.flac"), sample("weather.flac")
    length = max(len(left), len(right))
    path = tmp_path / "stereo.wav"
    write_wave(path, np.stack([np.pad(side, (0, length - len(side))) for side in (left, right)], axis=1))
    with wave.open(str(path), "rb") as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    texts = [nano.transcribe(np.ascontiguousarray(frames[:, channel])).text for channel in range(2)]
    assert texts == [
        " please close the dining room radio in twenty two seconds",
        " the weather in seattle is cold and rainy this evening",
    ]
    assert nano.transcribe(path).text not in texts  # both at once


@pytest.mark.parametrize("clips", ["4.2,7.6,16.5,20.0", [4.2, 7.6, 16.5, 20.0]], ids=["string", "list"])
def test_clips_give_the_text_there_at_its_times(nano: Transcriber, clips: Any) -> None:
    result = nano.transcribe(SAMPLES / "one_day.flac", clip_timestamps=clips, word_timestamps=True)
    assert result.text == (
        " the weather in dublin is warm and rainy this morning the price is two hundred fifty three dollars"
    )
    assert_words_go_forward(result)
    first, second = result.segments
    assert (first.seek, second.seek) == (420, 1650)
    assert 4.2 <= first.start < first.end <= 7.6
    assert 16.5 <= second.start < second.end <= 20.0


def test_a_clip_without_an_end_goes_to_the_end(nano: Transcriber) -> None:
    result = nano.transcribe(SAMPLES / "one_day.flac", clip_timestamps="64.9")
    assert result.text == " the code is five eight zero five four five five good evening sarah welcome to dublin"
    assert 64.9 <= result.segments[0].start < result.segments[-1].end <= seconds(sample("one_day.flac"))
    beyond = nano.transcribe(SAMPLES / "weather.flac", clip_timestamps="100,200")
    assert beyond.segments == ()


@pytest.fixture
def n_encoded(nano: Transcriber, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The windows of each call of the encoder."""
    calls: list[int] = []
    encode = nano.model.encode

    def counting(log_mel: np.ndarray) -> Any:
        calls.append(len(log_mel))
        return encode(log_mel)

    monkeypatch.setattr(nano.model, "encode", counting)
    return calls


@pytest.mark.parametrize(("options", "n_windows"), [({}, 1), ({"chunking": "vad", "batch_size": 2}, 2)], ids=str)
def test_a_stream_decodes_no_more_than_it_is_asked_for(
    nano: Transcriber, n_encoded: list[int], options: dict[str, Any], n_windows: int
) -> None:
    stream = nano.stream(three_windows(), language="en", **options)
    assert n_encoded == []
    first = next(stream)
    assert n_encoded == [n_windows]
    rest = list(stream)
    assert sum(n_encoded) >= 3
    assert [segment.id for segment in [first, *rest]] == [0, 1, 2]
    assert stream.transcription().segments == (first, *rest)


def three_windows() -> np.ndarray:
    """Three sentences, each in a window of its own."""
    names = ("digits.flac", "weather.flac", "greeting.ogg")
    return np.concatenate([np.pad(part, (0, 30 * SAMPLE_RATE - len(part))) for part in map(sample, names)])


def test_a_stream_can_be_abandoned(nano: Transcriber, tmp_path: Path) -> None:
    path = tmp_path / "three.wav"
    write_wave(path, three_windows()[:, None])
    before, was_open = nano.transcribe(SAMPLES / "digits.flac"), False
    uses: list[dict[str, Any]] = [{}, {"chunking": "vad", "batch_size": 2}, {"vad_filter": True}]
    for options in uses:
        stream = nano.stream(path, language="en", **options)
        assert isinstance(next(stream), Segment)
        was_open |= path in open_files()
        del stream
        gc.collect()
        assert path not in open_files()
    assert was_open or not Path("/proc/self/fd").is_dir()
    assert nano.transcribe(SAMPLES / "digits.flac") == before


def open_files() -> list[Path]:
    """The files that this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return [link.readlink() for link in folder.iterdir() if link.exists()] if folder.is_dir() else []


def test_detecting_the_language_of_several_windows(nano: Transcriber, n_encoded: list[int]) -> None:
    code, probabilities = nano.detect_language(SAMPLES / "one_day.flac")
    assert sum(n_encoded) == 1
    assert code == "en" == max(probabilities, key=probabilities.__getitem__)
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)
    audio = sample("one_day.flac")
    windows = [nano.detect_language(cut(audio, start, start + 30))[1] for start in (0, 30, 60)]
    n_encoded.clear()
    _, mean = nano.detect_language(audio, segments=7)
    assert sum(n_encoded) == 3
    assert mean["en"] == pytest.approx(np.mean([window["en"] for window in windows]), abs=1e-3)


def test_a_bad_file_in_the_middle_of_many(nano: Transcriber, tmp_path: Path) -> None:
    broken = tmp_path / "broken.flac"
    broken.write_bytes((SAMPLES / "digits.flac").read_bytes()[:100])
    names = ["digits.flac", "greeting.ogg", "weather.flac"]
    audios = [SAMPLES / names[0], SAMPLES / names[1], broken, tmp_path / "missing.wav", SAMPLES / names[2]]
    outcomes = list(nano.transcribe_many(audios, batch_size=2))
    assert [type(outcome) for outcome in outcomes] == [
        Transcription,
        Transcription,
        AudioError,
        AudioError,
        Transcription,
    ]
    assert "broken.flac" in str(outcomes[2])
    assert "missing.wav" in str(outcomes[3])
    for outcome, name in zip([*outcomes[:2], outcomes[4]], names, strict=True):
        assert isinstance(outcome, Transcription)
        assert outcome.text == nano.transcribe(SAMPLES / name).text


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"beam_size": 0}, "beam_size"),
    ({"beams": 5}, "beams"),
    ({"beam_size": 5, "temperature": 0.5}, "beam_size"),
    ({"patience": 1.0}, "patience"),
    ({"language": "klingon"}, "language"),
    ({"language": "yue"}, "language"),
    ({"clip_timestamps": "5,3"}, "clip_timestamps"),
    ({"hallucination_silence_threshold": 2.0}, "hallucination_silence_threshold"),
    ({"batch_size": 0}, "batch_size"),
    ({"vad_filter": True, "clip_timestamps": "1,2"}, "clip_timestamps"),
    ({"suppress_tokens": [60000]}, "suppress_tokens"),
]


@pytest.mark.parametrize(("options", "name"), WRONG, ids=str)
def test_a_wrong_option_is_refused_before_any_work(
    nano: Transcriber, n_encoded: list[int], options: dict[str, Any], name: str
) -> None:
    """Before the recording is looked for, and before a generator is asked for its first item."""
    with pytest.raises(OptionError, match=f"^{name}: ") as error:
        nano.transcribe("missing.wav", **options)
    assert "\n" not in str(error.value)
    with pytest.raises(OptionError, match=f"^{name}: "):
        nano.stream("missing.wav", **options)
    with pytest.raises(OptionError, match=f"^{name}: "):
        nano.transcribe_many(iter(["missing.wav"]), **options)
    assert n_encoded == []


def test_options_as_an_object_and_as_keywords(nano: Transcriber) -> None:
    options = TranscribeOptions(language="en", temperature=0.0, without_timestamps=True)
    recording = SAMPLES / "dialogue.flac"
    plain = nano.transcribe(recording, language="en", temperature=0.0, without_timestamps=True)
    timed = nano.transcribe(recording, language="en", temperature=0.0, word_timestamps=True)
    assert plain != timed
    assert nano.stream(recording, options=options).transcription() == plain
    assert nano.transcribe(recording, options=options, without_timestamps=False, word_timestamps=True) == timed


@pytest.mark.parametrize("call", ["transcribe", "stream"])
def test_a_batch_of_one_recording_needs_chunks(nano: Transcriber, call: str) -> None:
    with pytest.raises(OptionError, match=r'^batch_size: .*; add chunking="vad"'):
        getattr(nano, call)("missing.wav", batch_size=8)


def test_chunks_of_many_recordings(nano: Transcriber) -> None:
    audios: list[Any] = [sample("digits.flac"), "missing.wav", three_windows()]
    first, missing, last = nano.transcribe_many(audios, chunking="vad", batch_size=2)
    assert isinstance(missing, AudioError)
    assert [first, last] == [nano.transcribe(audios[index], chunking="vad") for index in (0, 2)]


def test_segments_come_before_the_end_of_a_pipe_is_written(nano: Transcriber, tmp_path: Path) -> None:
    path = tmp_path / "three.wav"
    write_wave(path, three_windows()[:, None])
    data, (reading, writing), heard = path.read_bytes(), os.pipe(), threading.Event()
    came: list[bool] = []

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data[: len(data) * 2 // 3])
            pipe.flush()
            came.append(heard.wait(60))
            pipe.write(data[len(data) * 2 // 3 :])

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as pipe:
        stream = nano.stream(pipe, chunking="vad", batch_size=1, language="en")
        next(stream)
        heard.set()
        result = stream.transcription()
    writer.join()
    assert came == [True]
    assert result == nano.transcribe(path, chunking="vad", language="en")


@pytest.mark.parametrize("given", [None, "base"])
def test_the_default_model_cannot_be_downloaded(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    monkeypatch.delenv("MAX_WHISPER_MODEL", raising=False)
    if given:
        monkeypatch.setenv("MAX_WHISPER_MODEL", given)

    def no_network(url: str, timeout: float) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(DownloadError) as raised:
        load_model(device="cpu")
    message = str(raised.value)
    assert f"/{given or 'large-v3-turbo'}.pt: cannot be reached (Temporary failure in name resolution)" in message
    assert message.endswith('; load_model("nano") is a small demonstration model that comes with the package')
    assert str(pickle.loads(pickle.dumps(raised.value))) == message
