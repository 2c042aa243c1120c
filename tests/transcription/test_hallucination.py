"""Going on after a window's words, against openai-whisper's `transcribe` led through every branch."""

import copy
import importlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import whisper.tokenizer
from whisper.decoding import DecodingResult

from max_whisper.results import Word
from max_whisper.transcription.hallucination import continue_after_words, end_of_words, is_anomaly
from max_whisper.transcription.word_timestamps import SegmentDraft

BEGIN = 50364  # <|0.00|> of the multilingual vocabulary
WORDS = [" a", " word", ",", ".", "。", "-", "¿", " '", " -", " two."]

reference = importlib.import_module("whisper.transcribe")  # `whisper.transcribe` itself is the function


@dataclass
class Window:
    """What openai-whisper knew about a window once its words were timed, and what it did then."""

    segments: list[dict[str, Any]]
    n_frames: int
    last_speech_timestamp: float
    tokens: list[int]


@dataclass
class Recording:
    """A model that says anything, and words at any time; it keeps what openai-whisper saw of it."""

    rng: np.random.Generator
    content_frames: int
    windows: list[Window] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    device = torch.device("cpu")
    dims = whisper.model.ModelDimensions(80, 1500, 64, 1, 1, 51865, 448, 64, 1, 1)
    is_multilingual = True
    num_languages = 99

    def decode(self, log_mel: torch.Tensor, options: Any) -> DecodingResult:
        assert len(self.windows) < 300, "the reference goes round in circles"
        times = np.sort(self.rng.integers(100, 1500, int(self.rng.integers(1, 6)))).tolist()
        self.tokens = [BEGIN]
        for time in times:
            self.tokens += [440, BEGIN + time, BEGIN + time]
        # A pair of timestamps at the end, a single one, text, or no timestamps at all.
        kind = int(self.rng.integers(4))
        self.tokens = [self.tokens, self.tokens[:-1], [*self.tokens, 440], [440]][kind]
        return DecodingResult(torch.zeros(1), "en", tokens=self.tokens, text=" a", temperature=0.0)

    def add_word_timestamps(
        self, *, segments: list[dict[str, Any]], num_frames: int, last_speech_timestamp: float, **rest: Any
    ) -> None:
        """Give each segment words that may be odd in any way, and their times."""
        rng = self.rng
        seek = segments[0]["seek"]
        time = seek / 100 + float(rng.choice([-1.0, 0.0, 0.4, 1.98, 2.0, 2.02, 9.0]))
        for segment in segments:
            share_of_odd_words = rng.choice([0.0, 0.2, 0.4, 1.0])
            segment["words"] = []
            time += float(rng.choice([0.0, 0.3, 1.0, 2.5, 5.0]))
            for _ in range(int(rng.choice([0, 1, 2, 3, 8, 9, 9, 12]))):
                odd_duration, odd_probability = rng.random(2) < share_of_odd_words
                start = round(time, 2)
                durations = [0.0, 0.04, 0.12, 0.13, 0.14, 2.0, 2.02, 3.1] if odd_duration else [0.14, 0.2, 0.4, 2.0]
                time = round(start + float(rng.choice(durations)), 2)
                probability = float(rng.choice([0.1, 0.149, 0.15, 0.3] if odd_probability else [0.15, 0.2, 0.9]))
                word = str(rng.choice(WORDS))
                segment["words"].append({"word": word, "start": start, "end": time, "probability": probability})
            if segment["words"]:
                # At times exactly at a threshold from the end of the window or of the recording.
                exact = rng.choice([seek + 3000, self.content_frames]) / 100 - rng.choice([0.4, 2.0, 5.0])
                if rng.random() < 0.1 and exact > segment["words"][-1]["start"]:
                    segment["words"][-1]["end"] = time = float(exact)
                segment["start"], segment["end"] = segment["words"][0]["start"], segment["words"][-1]["end"]
        self.windows.append(Window(copy.deepcopy(segments), num_frames, last_speech_timestamp, list(self.tokens)))


def draft_of(segment: dict[str, Any]) -> SegmentDraft:
    words = tuple(Word(**word) for word in segment["words"])
    return SegmentDraft(
        segment["seek"], segment["start"], segment["end"], tuple(segment["tokens"]), segment["text"], words
    )


def next_seek(window: Window) -> int:
    """Where the window's timestamps say that the next one begins."""
    *_, before_last, last = [0, 0, *window.tokens]
    seek = window.segments[0]["seek"]
    pairs = [j for i, j in zip(window.tokens, window.tokens[1:], strict=False) if i >= BEGIN and j >= BEGIN]
    if not pairs or (before_last < BEGIN <= last):
        return seek + window.n_frames
    return seek + 2 * (pairs[-1] - BEGIN)


@pytest.mark.parametrize("threshold", [None, 0.0, 0.4, 2.0, 5.0])
def test_windows_equal_openai_whisper(threshold: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(100):
        content_frames = 3000 + 2371 * (seed % 5)
        recording = Recording(np.random.default_rng(seed), content_frames)
        monkeypatch.setattr(
            reference, "log_mel_spectrogram", lambda *_, n=content_frames, **__: torch.zeros(80, n + 3000)
        )
        monkeypatch.setattr(reference, "add_word_timestamps", recording.add_word_timestamps)
        result = reference.transcribe(
            recording,
            np.zeros(1),
            language="en",
            fp16=False,
            verbose=None,
            temperature=0.0,
            compression_ratio_threshold=None,
            logprob_threshold=None,
            no_speech_threshold=None,
            word_timestamps=True,
            hallucination_silence_threshold=threshold,
        )
        for window, following in zip(recording.windows, [*recording.windows[1:], None], strict=True):
            seek = window.segments[0]["seek"]
            by_timestamps = next_seek(window)
            ours = continue_after_words(
                [draft_of(segment) for segment in window.segments],
                seek=seek,
                next_seek=by_timestamps,
                n_frames=window.n_frames,
                content_frames=content_frames,
                is_finished=[token >= BEGIN for token in window.tokens[-2:]] == [False, True],
                last_speech_timestamp=window.last_speech_timestamp,
                threshold=threshold,
            )
            kept = [segment for segment in result["segments"] if segment["seek"] == seek]
            assert len(ours.drafts) == len(kept)
            for draft, segment in zip(ours.drafts, kept, strict=True):
                if segment["tokens"]:  # else it has been emptied since
                    assert draft == draft_of(segment)
            if following is None:
                assert ours.seek >= content_frames
            else:
                assert ours.seek == following.segments[0]["seek"]
                assert ours.last_speech_timestamp == following.last_speech_timestamp
            if ours.skipped:
                assert not ours.drafts
                assert ours.last_speech_timestamp == window.last_speech_timestamp
            outcomes["skipped"] += ours.skipped
            outcomes["dropped"] += not ours.skipped and 0 < len(ours.drafts) < len(window.segments)
            outcomes["all dropped"] += not ours.skipped and not ours.drafts
            outcomes["dropped at the end"] += len(ours.drafts) < len(window.segments) and ours.seek == content_frames
            outcomes["at the last word"] += ours.seek != by_timestamps and len(ours.drafts) == len(window.segments)
            outcomes["by the timestamps"] += ours.seek == by_timestamps and len(ours.drafts) == len(window.segments)
    assert outcomes["at the last word"] > 50
    assert outcomes["by the timestamps"] > 50
    for outcome in ("skipped", "dropped", "all dropped", "dropped at the end"):
        assert (outcomes[outcome] > 0) == (threshold is not None), outcome


def test_the_first_eight_words_stand_for_a_segment() -> None:
    def spoken(n_usual: int, n_improbable: int) -> SegmentDraft:
        words = [Word(" a", 0.3 * n, 0.3 * n + 0.2, 0.9) for n in range(n_usual)]
        return SegmentDraft(0, 0.0, 9.0, (440,), " a", (*words, *[Word(" a", 8.0, 8.2, 0.1)] * n_improbable))

    assert is_anomaly(spoken(5, 3))
    assert not is_anomaly(spoken(6, 3))


def test_end_of_words() -> None:
    empty = SegmentDraft(0, 1.0, 2.0, (), "")
    spoken = SegmentDraft(0, 0.0, 1.5, (440,), " a", (Word(" a", 0.0, 1.25, 0.5),))
    assert end_of_words([]) is None
    assert end_of_words([empty]) == 2.0
    assert end_of_words([spoken, empty]) == 1.25
