"""What `parity-options` runs: options one by one and in pairs, over three models, and what it leaves out.

The options of a case are keyword arguments that openai-whisper's `transcribe` and ours both take as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from max_whisper.audio import SAMPLE_RATE
from max_whisper.audio.samples import open_samples
from max_whisper.diagnostics.recordings import recordings

MODELS = ("nano", "random:speaking-english", "random:speaking-multilingual")
NANO, ENGLISH, MULTILINGUAL = MODELS

# So low that the most probable token is drawn always: a chain of temperatures whose result is known.
COLD = (0.0, 1e-5, 2e-5, 3e-5)
WARM = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

_READING = "a recording is read before any program transcribes it: openai-whisper gets the same samples"

# Options that have no case, why, and the tests that are there instead.
NOT_COMPARED = {
    "audio_track": (_READING, ("tests/audio/test_tracks.py",)),
    "channel": (_READING, ("tests/audio/test_channels.py",)),
    "container_times": (_READING, ("tests/options/test_transcribe_options.py",)),
    "input_format": (_READING, ("tests/audio/test_raw.py",)),
    "sample_rate": (_READING, ("tests/audio/test_recording.py", "tests/audio/test_raw.py")),
    "input_channels": (_READING, ("tests/audio/test_raw.py",)),
    "multilingual": ("openai-whisper detects the language once", ("tests/transcription/test_prompts.py",)),
    "language_detection_segments": (
        "openai-whisper detects in the first window only",
        ("tests/transcription/test_tasks.py",),
    ),
    "top_p": ("openai-whisper draws from all tokens", ("tests/decoding/test_sampling.py",)),
    "repetition_penalty": (
        "openai-whisper has none",
        ("tests/decoding/test_penalties.py", "tests/decoding/test_decode.py"),
    ),
    "no_repeat_ngram_size": (
        "openai-whisper has none",
        ("tests/decoding/test_penalties.py", "tests/decoding/test_decode.py"),
    ),
    "seed": (
        "two libraries do not share random numbers; the last two tables compare temperatures and distributions",
        ("tests/decoding/test_sampling.py",),
    ),
    "max_new_tokens": (
        "it is sample_len under faster-whisper's name, without sample_len's effect on a prefix",
        ("tests/transcription/test_prompts.py",),
    ),
    "prompt_reset_on_temperature": (
        "openai-whisper resets at 0.5, the default here",
        ("tests/transcription/test_prompts.py",),
    ),
    "hotwords": ("openai-whisper has none", ("tests/transcription/test_prompts.py",)),
    "clamp_timestamps": (
        "openai-whisper leaves times as the model writes them, and so do all cases",
        ("tests/transcription/test_clips.py",),
    ),
    "vad_filter": (
        "openai-whisper has no voice-activity filter",
        ("tests/transcription/test_tasks.py", "tests/audio/test_vad.py"),
    ),
    "vad_parameters": ("openai-whisper has no voice-activity filter", ("tests/audio/test_vad.py",)),
    "chunking": ("openai-whisper decodes one window after the other", ("tests/transcription/test_tasks.py",)),
    "batch_size": ("openai-whisper decodes one window after the other", ("tests/transcription/test_tasks.py",)),
}

# What the compared options can be besides, and why no case has it.
VALUES_NOT_COMPARED = (
    "`initial_prompt` as tokens: openai-whisper takes a text only.",
    "`language` as a name: openai-whisper gives the name back, max-whisper its code.",
    "A file in place of samples: openai-whisper reads files with the program `ffmpeg`; both get the samples that "
    "max-whisper has read.",
    "`temperature` above 0 with a result that depends on random numbers: see the last two tables.",
    "JSON against openai-whisper's own result: it spells out floats to the last bit, and the two libraries round "
    "differently there. Its numbers are compared above instead.",
)


@dataclass(frozen=True)
class Case:
    """A recording transcribed with certain options."""

    model: str
    recording: str  # a name that `samples` knows
    options: Mapping[str, Any]
    subtitles: Mapping[str, Any] = field(default_factory=dict)  # options of the writers
    # Whether the text depends on random numbers; then only the windows and the temperatures tried are compared.
    is_drawn: bool = False

    @property
    def described(self) -> str:
        """The options as they are written in Python, those of the writers last."""
        return ", ".join(f"{name}={_shown(value)}" for name, value in {**self.options, **self.subtitles}.items())


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({len(value)} in all)"


@cache
def samples(name: str) -> np.ndarray:
    """One of the repository's recordings, or a made-up signal: float32 [n] at 16 kHz."""
    if name in SIGNALS:
        return SIGNALS[name]()
    (found,) = recordings([], [name])
    return np.concatenate(list(open_samples(found.path).blocks()))


def _times(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _tones() -> np.ndarray:
    """65 s of tones that slide, with pauses."""
    t = _times(65)
    slide = np.sin(2 * np.pi * (200 * t + 60 * np.sin(2 * np.pi * t / 5)))
    return (0.3 * slide * (np.sin(2 * np.pi * t / 7) > -0.4)).astype(np.float32)


def _noise() -> np.ndarray:
    """40 s of noise that comes and goes."""
    t = _times(40)
    noise = np.random.default_rng(0).standard_normal(len(t))
    return (0.1 * noise * np.sin(2 * np.pi * t / 9) ** 2).astype(np.float32)


# Made-up signals by name.
SIGNALS = {
    "tones": _tones,
    "noise": _noise,
    "half_a_second": lambda: _noise()[: SAMPLE_RATE // 2],
    "silence": lambda: np.zeros(35 * SAMPLE_RATE, np.float32),
    "two_days": lambda: np.concatenate([samples("one_day"), samples("dialogue"), samples("one_day")]),
}

PROMPT = "The meeting in Dublin: Thomas, Alice, Sarah."
LONG_PROMPT = "turn on the light in the kitchen and in the living room at six thirty " * 20  # over half the context
WORDS: dict[str, Any] = {"word_timestamps": True}
BEAMS: dict[str, Any] = {"beam_size": 5}


def _of_nano() -> list[Case]:
    def case(recording: str, subtitles: Mapping[str, Any] | None = None, **options: Any) -> Case:
        return Case(NANO, recording, options, subtitles or {})

    return [
        *(case(name) for name in ("digits", "directions", "greeting", "dialogue", "one_day", "two_days")),
        *(case(name) for name in ("silence_and_noise", "half_a_second", "silence")),
        case("reminder", language="en", task="transcribe"),
        case("kitchen", temperature=0.0),
        case("numbers", temperature=(0.0, 0.5)),
        *(case("dialogue", beam_size=beams) for beams in (1, 2, 5)),
        case("one_day", **BEAMS),
        *(case("dialogue", **BEAMS, patience=patience) for patience in (0.4, 2.0)),
        *(case("one_day", **BEAMS, length_penalty=penalty) for penalty in (0.0, 0.6, 1.0)),
        case("one_day", initial_prompt=PROMPT),
        case("one_day", initial_prompt=PROMPT, carry_initial_prompt=True),
        case("two_days", initial_prompt=LONG_PROMPT, carry_initial_prompt=True),
        case("dialogue", prefix="good afternoon"),
        case("one_day", prefix="good afternoon", sample_len=200, temperature=0.0),
        case("dialogue", prefix=[50364, 264, 3847]),
        case("dialogue", prefix="the weather", without_timestamps=True),
        *(
            case("dialogue", suppress_tokens=tokens, temperature=0.0)
            for tokens in ("", "-1,264,322", [2309, 294, 3847])
        ),
        case("silence_and_noise", suppress_blank=False),
        case("one_day", suppress_blank=False),
        *(case("one_day", max_initial_timestamp=seconds) for seconds in (None, 0.0, 0.3)),
        case("one_day", without_timestamps=True, temperature=0.0),
        *(case("one_day", sample_len=tokens) for tokens in (7, 40)),
        case("one_day", clip_timestamps="4,17.5"),
        case("one_day", clip_timestamps="0,3.6,24,42,60"),
        case("one_day", clip_timestamps=[41.3]),
        case("one_day", condition_on_previous_text=False),
        *(case("one_day", compression_ratio_threshold=threshold) for threshold in (None, 1.7)),
        case("one_day", logprob_threshold=None),
        case("silence_and_noise", no_speech_threshold=None, temperature=0.0),
        case("silence_and_noise", no_speech_threshold=0.95, temperature=0.0),
        case("one_day", no_speech_threshold=1e-9, logprob_threshold=-0.1, temperature=0.0),
        case("one_day", **WORDS),
        case("two_days", **WORDS),
        case("one_day", **WORDS, hallucination_silence_threshold=0.5),
        case("silence_and_noise", **WORDS, hallucination_silence_threshold=2.0),
        case("one_day", **WORDS, **BEAMS),
        case("one_day", **WORDS, without_timestamps=True, temperature=0.0),
        case("one_day", **WORDS, clip_timestamps="2,9,24,42,60"),
        case("one_day", **WORDS, initial_prompt=PROMPT, carry_initial_prompt=True),
        case("dialogue", **WORDS, prefix="good afternoon"),
        case("one_day", **BEAMS, initial_prompt=PROMPT),
        case("one_day", **BEAMS, clip_timestamps="0,3.6,24,42,60"),
        case("one_day", **BEAMS, without_timestamps=True, condition_on_previous_text=False, temperature=0.0),
        case("one_day", {"max_line_width": 30}, **WORDS),
        case("one_day", {"max_line_width": 24, "max_line_count": 2}, **WORDS),
        case("one_day", {"max_words_per_line": 3}, **WORDS),
        case("dialogue", {"highlight_words": True}, **WORDS),
        case("dialogue", {"highlight_words": True, "max_line_width": 20, "max_line_count": 1}, **WORDS, **BEAMS),
    ]


def _of_speaking(model: str, tokens: list[int], times: int) -> list[Case]:
    """Cases of a model with random weights; a low temperature comes last where thresholds fail.

    tokens: some that it often says. times: its first timestamp token.
    """

    def case(recording: str, subtitles: Mapping[str, Any] | None = None, **options: Any) -> Case:
        return Case(model, recording, {"temperature": 0.0, **options}, subtitles or {})

    return [
        *(case(name, no_speech_threshold=None) for name in ("weather", "one_day", "tones", "noise", "half_a_second")),
        case("one_day"),
        case("two_days", condition_on_previous_text=False),
        *(case("dialogue", beam_size=beams, no_speech_threshold=None) for beams in (1, 2, 5)),
        case("noise", **BEAMS, patience=1.6, no_speech_threshold=None),
        *(case("noise", **BEAMS, length_penalty=penalty, no_speech_threshold=None) for penalty in (0.0, 1.0)),
        case("tones", initial_prompt=PROMPT, no_speech_threshold=None),
        case(
            "tones", initial_prompt=PROMPT, carry_initial_prompt=True, **BEAMS, sample_len=80, no_speech_threshold=None
        ),
        case("noise", prefix="so to say", no_speech_threshold=None),
        case("noise", prefix=[times, *tokens], **BEAMS, no_speech_threshold=None),
        case("one_day", suppress_tokens=tokens, no_speech_threshold=None),
        case("one_day", suppress_tokens=None, suppress_blank=False, no_speech_threshold=None),
        case("tones", max_initial_timestamp=None, no_speech_threshold=None),
        case("tones", without_timestamps=True, no_speech_threshold=None),
        case("noise", without_timestamps=True, **BEAMS, sample_len=30, no_speech_threshold=None),
        case("one_day", clip_timestamps="3,21,30,34.5,50", no_speech_threshold=None),
        case("one_day", no_speech_threshold=0.3, logprob_threshold=-1.4),
        case("two_days", temperature=COLD, no_speech_threshold=None, logprob_threshold=-1.4),
        case("two_days", temperature=COLD, best_of=3, logprob_threshold=None, compression_ratio_threshold=6.0),
        case("one_day", temperature=COLD, **BEAMS, best_of=2, no_speech_threshold=0.7, logprob_threshold=-1.2),
        case("one_day", **WORDS, no_speech_threshold=None),
        case("tones", **WORDS, **BEAMS, sample_len=80, no_speech_threshold=None),
        case("noise", **WORDS, hallucination_silence_threshold=1.0, no_speech_threshold=None),
        case("two_days", **WORDS, hallucination_silence_threshold=3.0, clip_timestamps="5,70,80"),
        case("noise", **WORDS, prepend_punctuations="ae", append_punctuations="trn", no_speech_threshold=None),
        case("tones", {"max_line_width": 18, "max_line_count": 2}, **WORDS, no_speech_threshold=None),
        case("noise", {"max_words_per_line": 2, "highlight_words": True}, **WORDS, no_speech_threshold=None),
    ]


def _of_languages() -> list[Case]:
    """What only a multilingual model can do."""

    def case(recording: str, **options: Any) -> Case:
        return Case(MULTILINGUAL, recording, {"temperature": 0.0, "no_speech_threshold": None, **options})

    return [
        case("tones", language="de"),
        case("tones", language="ja", task="translate"),
        case("dialogue", task="translate", **BEAMS),
        case("noise", task="translate", **WORDS),
        case("tones", language="zh", **WORDS),
        case("noise", language="th", **WORDS, **BEAMS),
        case("one_day", language="fr", initial_prompt="Bonjour, mes amis.", clip_timestamps="10,50"),
    ]


def _of_the_fallback() -> list[Case]:
    """Windows that fail at each threshold, or do not; their number depends on nothing that is drawn.

    Every window is one of 30 s, as there are no timestamps: not even those that a model writes unasked.
    """

    def case(model: str, **options: Any) -> Case:
        first = 50363 if model == ENGLISH else 50364
        fixed = {"without_timestamps": True, "suppress_tokens": [-1, *range(first, first + 1501)], "sample_len": 8}
        fixed |= {"condition_on_previous_text": False, "temperature": WARM}
        return Case(model, "one_day", {**fixed, **options}, is_drawn=True)

    always, never = {"logprob_threshold": 0.0}, {"logprob_threshold": None}
    repeats, silent = {"compression_ratio_threshold": -1.0}, {"no_speech_threshold": -1.0}
    no_silence = {"no_speech_threshold": None}
    return [
        case(model, **{"compression_ratio_threshold": None, **options})
        for model in MODELS
        for options in (
            {**always, **no_silence},
            {**never, **repeats, **no_silence},
            {**always, **repeats, **no_silence, "temperature": (0.0, 0.3, 0.7), "best_of": 2, "beam_size": 2},
            {**always, **silent},
            {**always, **repeats, **silent},
            {**never, **repeats, **silent},
            {**never, **no_silence},
            {**always, **no_silence, "temperature": 0.7},
        )
    ]


CASES = (
    *_of_nano(),
    *_of_speaking(ENGLISH, [45523, 9898, 6515], 50363),
    *_of_speaking(MULTILINGUAL, [267, 20338, 26982], 50364),
    *_of_languages(),
)
FALLBACK_CASES = tuple(_of_the_fallback())
