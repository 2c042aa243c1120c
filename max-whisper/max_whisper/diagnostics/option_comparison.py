"""One case of `parity-options` through openai-whisper and through ours, and where the two results differ."""

import copy
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import whisper
from whisper.utils import get_writer

from max_whisper.backends.reference import reference_model
from max_whisper.decoding import WindowDecoder
from max_whisper.diagnostics.backends import resolve_model
from max_whisper.diagnostics.option_cases import Case, samples
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.progress import Progress
from max_whisper.results import Transcription, formats
from max_whisper.transcriber import Transcriber, load_model

# Of every segment, which is equal or not, and which has a limit for its difference.
EQUAL = ("id", "seek", "start", "end", "text", "tokens", "temperature", "compression_ratio")
LIMITS = {"avg_logprob": 1e-3, "no_speech_prob": 1e-3}
WORD_LIMITS = {"start": 0.02, "end": 0.02, "probability": 1e-3}  # seconds, and a probability
ROUNDING = 1e-9  # of times that are sums of hundredths of a second


@dataclass
class Pair:
    """A model on both sides."""

    name: str
    reference: whisper.Whisper
    ours: Transcriber

    @classmethod
    def load(cls, name: str, backend: str, device: str, progress: Progress) -> "Pair":
        """openai-whisper stays on the CPU, where its float32 is exact."""
        file = resolve_model(name)
        reference = reference_model(load_checkpoint(file), torch.device("cpu"))
        return cls(name, reference, load_model(file, backend=backend, device=device, progress=progress))


@dataclass
class Comparison:
    """What became of a case."""

    case: Case
    windows: int
    segments: int
    words: int
    temperatures: tuple[float, ...]  # the reference's, of every attempt at a window
    differences: list[str] = field(default_factory=list)
    largest_logprob_difference: float = 0.0
    largest_word_difference: float = 0.0  # seconds
    not_written: list[str] = field(default_factory=list)  # formats at which openai-whisper's own writer fails

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences


def compare(pair: Pair, case: Case) -> Comparison:
    """Run a case on both sides."""
    audio = samples(case.recording)
    with _temperatures_of_reference(pair.reference) as theirs_tried:
        theirs = _reference_result(pair.reference, audio, case.options)
    with _temperatures_of_ours() as ours_tried:
        ours = pair.ours.transcribe(audio, clamp_timestamps=False, **copy.deepcopy(dict(case.options)))
    outcome = Comparison(
        case,
        windows=sum(temperature == theirs_tried[0] for temperature in theirs_tried),
        segments=len(theirs["segments"]),
        words=sum(len(segment.get("words", ())) for segment in theirs["segments"]),
        temperatures=tuple(theirs_tried),
    )
    if theirs_tried != ours_tried:
        outcome.differences.append(f"temperatures tried: {ours_tried} instead of {theirs_tried}")
    if case.is_drawn:
        places = [[segment[key] for key in ("seek", "temperature")] for segment in theirs["segments"]]
        if places != [[segment.seek, segment.temperature] for segment in ours.segments]:
            outcome.differences.append("windows")
    else:
        compare_results(outcome, theirs, ours)
    return outcome


def compare_results(outcome: Comparison, theirs: Mapping[str, Any], ours: Transcription) -> None:
    """Add to `outcome` where our transcription differs from openai-whisper's dictionary, or its files do."""
    result = ours.to_dict()
    for key in ("text", "language"):
        if result[key] != theirs[key]:
            outcome.differences.append(f"{key}: {result[key]!r} instead of {theirs[key]!r}")
    if len(result["segments"]) != len(theirs["segments"]):
        outcome.differences.append(f"segments: {len(result['segments'])} instead of {len(theirs['segments'])}")
    for our_segment, their_segment in zip(result["segments"], theirs["segments"], strict=False):
        outcome.differences += _segment_differences(outcome, our_segment, their_segment)
    outcome.differences += _file_differences(outcome, theirs, ours)


def _segment_differences(outcome: Comparison, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    where = f"segment {theirs['id']}"
    if list(ours) != list(theirs):
        yield f"{where}, keys: {list(ours)} instead of {list(theirs)}"
    for key in EQUAL:
        if ours[key] != theirs[key]:
            yield f"{where}, {key}: {ours[key]!r} instead of {theirs[key]!r}"
    for key, limit in LIMITS.items():
        difference = abs(ours[key] - theirs[key])
        outcome.largest_logprob_difference = max(outcome.largest_logprob_difference, difference)
        if not difference <= limit:
            yield f"{where}, {key}: {ours[key]:.6f} instead of {theirs[key]:.6f}"
    our_words, their_words = ours.get("words", ()), theirs.get("words", ())
    if [word["word"] for word in our_words] != [word["word"] for word in their_words]:
        yield f"{where}, words"
        return
    for our_word, their_word in zip(our_words, their_words, strict=True):
        for key, limit in WORD_LIMITS.items():
            difference = abs(our_word[key] - their_word[key])
            if key != "probability":
                outcome.largest_word_difference = max(outcome.largest_word_difference, difference)
            if not difference <= limit + ROUNDING:
                yield f"{where}, {key} of {our_word['word']!r}: {our_word[key]:.4f} instead of {their_word[key]:.4f}"


def _file_differences(outcome: Comparison, theirs: Mapping[str, Any], ours: Transcription) -> Iterator[str]:
    """Our files against those of openai-whisper's writers: for our own result, and for its result except in JSON."""
    options = dict(outcome.case.subtitles)
    for format in formats.FORMATS:
        file = io.StringIO()
        formats.write(ours, file, format, compatible=True, **options)
        try:
            of_ours = _written_by_reference(format, ours.to_dict(), options)
            of_theirs = _written_by_reference(format, theirs, options)
        except (AssertionError, KeyError):
            # Where the first segment was emptied and has a list of words, it looks for words in the others too; and
            # where a segment of a window without timestamps begins with text, its time is negative.
            outcome.not_written.append(format)
            continue
        if file.getvalue() != of_ours:
            yield f"{format} of the same result"
        if format != "json" and file.getvalue() != of_theirs:
            yield f"{format}"


def _written_by_reference(format: str, result: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    file = io.StringIO()
    get_writer(format, ".").write_result(result, file=file, options=dict(options))
    return file.getvalue()


def _reference_result(model: whisper.Whisper, audio: np.ndarray, options: Mapping[str, Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    # A copy, because it changes a list of tokens to suppress.
    return whisper.transcribe(model, audio, fp16=False, verbose=None, **copy.deepcopy(dict(options)))


@contextmanager
def _temperatures_of_reference(model: whisper.Whisper) -> Iterator[list[float]]:
    """The temperature of every attempt of openai-whisper at a window."""
    tried: list[float] = []
    decode = model.decode

    def listen(log_mel: torch.Tensor, options: whisper.DecodingOptions) -> Any:
        tried.append(options.temperature)
        return decode(log_mel, options)

    with _replaced(model, "decode", listen):
        yield tried


@contextmanager
def _temperatures_of_ours() -> Iterator[list[float]]:
    """The temperature of every attempt of ours at a window."""
    tried: list[float] = []
    decode = WindowDecoder.decode

    def listen(decoder: WindowDecoder, features: Any, windows: Any, temperature: float) -> Any:
        tried.append(temperature)
        return decode(decoder, features, windows, temperature)

    with _replaced(WindowDecoder, "decode", listen):
        yield tried


@contextmanager
def _replaced(owner: Any, name: str, function: Callable[..., Any]) -> Iterator[None]:
    had_own, original = name in vars(owner), getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        if had_own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)
