"""The keywords of `transcribe`, `stream` and `transcribe_many`, for editors and type checkers.

Made by docs/make_pages.py from the definitions of the options.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from max_whisper.audio.keywords import ReadingKeywords
from max_whisper.audio.vad.parameters import VadParameters


class TranscribeKeywords(ReadingKeywords, total=False):
    """The fields of `TranscribeOptions`, each of which may be left away."""

    language: str | None
    """Language spoken: a code (de), a tag (de-AT) or an English name (German); None and auto detect it. The default is
    None."""
    task: Literal["transcribe", "translate"]
    """The text to write: transcribe is in the language spoken, translate in English. The default is 'transcribe'."""
    multilingual: bool
    """Whether the language is detected again in each window of 30 s. The default is False."""
    language_detection_segments: int
    """Windows of 30 s, from the beginning, in which the language is detected. The default is 1."""
    temperature: float | Sequence[float]
    """One softmax temperature or several: each is tried where the text at the one before it failed a threshold; at 0
    the most probable token is taken, above it tokens are drawn. The default is (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)."""
    best_of: int | None
    """Texts drawn at a temperature above 0, of which the most probable is kept; None draws one. The default is None."""
    beam_size: int | None
    """Hypotheses of beam search at temperature 0; None takes the most probable token of a single one. The default is
    None."""
    patience: float | None
    """Beam search goes on until round(beam_size * patience) texts have ended (Kasai et al. 2022); None is 1. The
    default is None."""
    length_penalty: float | None
    """Exponent from 0 to 1 of the length by which a text's log probability is divided (Wu et al. 2016); None divides by
    the number of tokens. The default is None."""
    top_p: float | None
    """Probability: above temperature 0 tokens are drawn from the smallest set of the most probable ones that reaches it
    (Holtzman et al. 2020); None draws from all. The default is None."""
    repetition_penalty: float
    """Divides the positive and multiplies the negative logits of tokens that the window has already (Keskar et al.
    2019); 1 changes nothing. The default is 1.0."""
    no_repeat_ngram_size: int
    """Tokens: no run of this length occurs twice in a window; 0 forbids nothing. The default is 0."""
    seed: int
    """Seed of the random generators that draw tokens; the same seed gives the same text again. The default is 0."""
    sample_len: int | None
    """The most tokens of a window; None is half of the decoder's context, 224. The default is None."""
    max_new_tokens: int | None
    """As sample_len, but a prefix is never shortened for it. The default is None."""
    suppress_tokens: str | Iterable[int] | None
    """Numbers of tokens that are never chosen, as a list or with commas; -1 stands for characters that are written but
    not spoken; None forbids nothing, not even the special tokens. The default is '-1'."""
    suppress_blank: bool
    """Whether a window may not begin with a blank or with the end of the text. The default is True."""
    compression_ratio_threshold: float | None
    """Bytes of text for each byte of it compressed by zlib: above it the text is a repetition and the next temperature
    is tried; None never tries it. The default is 2.4."""
    logprob_threshold: float | None
    """Natural logarithm of probability, mean over the tokens of a window: below it the next temperature is tried; None
    never tries it, and no_speech_threshold decides alone. The default is -1.0."""
    no_speech_threshold: float | None
    """Probability of no speech above which a window is silence, unless its mean log probability is above
    logprob_threshold; None skips no window. The default is 0.6."""
    initial_prompt: str | Sequence[int] | None
    """Text or tokens before the first window: names, words and style to expect; of too long a one the end counts. The
    default is None."""
    carry_initial_prompt: bool
    """Whether initial_prompt stands before every window. The default is False."""
    condition_on_previous_text: bool
    """Whether the text so far is the prompt of the next window. The default is True."""
    prompt_reset_on_temperature: float
    """Temperature: after a window decoded at a higher one the text so far is forgotten. The default is 0.5."""
    prefix: str | Sequence[int] | None
    """Text or tokens with which the text of every window begins. The default is None."""
    hotwords: str | None
    """Words to expect, in the prompt of every window. The default is None."""
    without_timestamps: bool
    """True forbids timestamps: one segment for each window of 30 s. The default is False."""
    max_initial_timestamp: float | None
    """Seconds from the window's start: the first timestamp is at most this; None and 0 set no limit. The default is
    1.0."""
    word_timestamps: bool
    """Whether segments have their words, each with its times and probability. The default is False."""
    prepend_punctuations: str
    """Characters that belong to the word after them. The default is '"\\'“¿([{-'."""
    append_punctuations: str
    """Characters that belong to the word before them. The default is '"\\'.。,，!！?？:：”)]}、'."""  # noqa: RUF001
    hallucination_silence_threshold: float | None
    """Seconds: a longer silence around words that look made up is skipped, and they with it; None skips none; needs
    word_timestamps. The default is None."""
    clamp_timestamps: bool
    """Whether no segment or word begins or ends outside of its clip and recording; False leaves times as the model
    writes them, up to 30 s behind the end, as openai-whisper does; with vad_filter or chunking='vad' they stay in the
    speech in any case. The default is True."""
    clip_timestamps: str | Sequence[float]
    """Seconds, start,end,start,end,...: the parts to transcribe; without the last end, to the recording's. The default
    is '0'."""
    vad_filter: bool
    """Whether parts without speech are cut out before decoding, by Silero VAD; times stay those of the recording. The
    default is False."""
    vad_parameters: VadParameters | Mapping[str, Any] | None
    """Fields of VadParameters that differ from their defaults; needs vad_filter or chunking. The default is None."""
    chunking: Literal["sequential", "vad"]
    """Sequential: windows follow each other, each where the text of the one before it ends, as in openai-whisper; vad:
    stretches of speech of at most 30 s, each decoded by itself, several at once. The default is 'sequential'."""
    batch_size: int | None
    """Windows decoded at once, of stretches of speech (chunking vad) or of several recordings; None is 8 there. The
    default is None."""
