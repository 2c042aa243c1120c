"""The options of a transcription, under openai-whisper's names, and faster-whisper's where only that has them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

from max_whisper.checks import did_you_mean
from max_whisper.errors import OptionError
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.languages import LANGUAGES
from max_whisper.options.checks import FORMS, vad_form
from max_whisper.options.foreign_names import FOREIGN_NAMES


@dataclass(frozen=True)
class TranscribeOptions:
    """What to write down and how to decode it; the defaults are those of openai-whisper's `transcribe`.

    Values and their combinations are checked as the object is made, and against a model's vocabulary by `resolve`;
    both raise OptionError with one line that begins with the option's name. Each value is kept in one form, whichever
    of the accepted forms it is given in.
    """

    # What to write down.

    # language spoken: a code or an English name in any case, kept as the code; None detects it
    language: str | None = None

    # "transcribe" writes the language spoken, "translate" writes English
    task: str = "transcribe"

    # whether the language is detected again in each window; only where `language` is None
    multilingual: bool = False

    # windows of 30 s; the language is detected in the first so many of the recording
    language_detection_segments: int = 1

    # Choosing tokens.

    # softmax temperatures, kept as a tuple: each is tried where the text at the one before it failed a threshold;
    # at 0.0 the most probable token is taken, above it tokens are drawn
    temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    # texts drawn at a temperature above 0, the most probable of which is kept; None draws one
    best_of: int | None = None

    # hypotheses kept at temperature 0 by beam search; None takes the most probable token of a single one
    beam_size: int | None = None

    # beam search goes on until round(beam_size * patience) texts have ended (Kasai et al. 2022); None is 1.0
    patience: float | None = None

    # exponent from 0 to 1 of the length by which a text's log probability is divided (Wu et al. 2016); None divides
    # by the number of tokens
    length_penalty: float | None = None

    # probability: above temperature 0 tokens are drawn from the smallest set of the most probable ones that reaches
    # it (Holtzman et al. 2020); None draws from all
    top_p: float | None = None

    # divides the positive and multiplies the negative logits of tokens that the window has already (Keskar et al.
    # 2019); 1.0 changes nothing
    repetition_penalty: float = 1.0

    # tokens; no run of this length occurs twice in a window; 0 forbids nothing
    no_repeat_ngram_size: int = 0

    # of the random generators that draw tokens; the same seed gives the same text again
    seed: int = 0

    # tokens; the most that are chosen in a window; None is half of the decoder's context (224)
    sample_len: int | None = None

    # the same under faster-whisper's name, but a prefix is never shortened for it
    max_new_tokens: int | None = None

    # When a text has failed, and what is silence.

    # bytes of text for each byte of it compressed by zlib, above which the next temperature is tried; None never
    compression_ratio_threshold: float | None = 2.4

    # natural logarithm, mean over the tokens of a window: below it the next temperature is tried; None never, and lets
    # no_speech_threshold decide alone
    logprob_threshold: float | None = -1.0

    # probability of <|nospeech|> above which a window is silence, unless its avg_logprob is above logprob_threshold;
    # None never skips a window
    no_speech_threshold: float | None = 0.6

    # What the model reads before it writes.

    # text, or tokens kept as a tuple, before the first window; of too long a one the end counts
    initial_prompt: str | Sequence[int] | None = None

    # whether initial_prompt stands before every window
    carry_initial_prompt: bool = False

    # whether the text of earlier windows is the prompt of the next one
    condition_on_previous_text: bool = True

    # temperature; the prompt of earlier text begins anew after a window that was decoded at a higher one
    prompt_reset_on_temperature: float = 0.5

    # text, or tokens kept as a tuple, with which the text of every window begins
    prefix: str | Sequence[int] | None = None

    # words to expect, in the prompt of every window
    hotwords: str | None = None

    # Which tokens may come.

    # tokens that are never chosen: numbers, or a string of them with commas; -1 stands for what is written but not
    # spoken (Tokenizer.non_speech_tokens); None or "" forbids nothing, not even the special tokens
    suppress_tokens: str | Iterable[int] | None = "-1"

    # whether a window may not begin with a blank or with the end of the text
    suppress_blank: bool = True

    # Times.

    # True forbids timestamps: one segment for each window of 30 s
    without_timestamps: bool = False

    # seconds from the window's start; the first timestamp is at most this; None or 0 sets no limit
    max_initial_timestamp: float | None = 1.0

    # whether segments have their words, each with its times and probability
    word_timestamps: bool = False

    # characters that belong to the word after them, each
    prepend_punctuations: str = "\"'“¿([{-"

    # characters that belong to the word before them, each
    append_punctuations: str = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001

    # seconds; a longer silence around words that look made up is skipped, and they with it; None skips none
    hallucination_silence_threshold: float | None = None

    # Which parts of the recording.

    # seconds: start,end,start,end,... of what to transcribe, kept as a tuple; a last end that is missing is the
    # recording's
    clip_timestamps: str | Sequence[float] = "0"

    # whether what is no speech is cut out before decoding, by Silero VAD; times stay those of the recording
    vad_filter: bool = False

    # the fields of vad.VadParameters that differ from its defaults, kept as that class; None is the defaults
    vad_parameters: Any = None

    # windows decoded at once; stretches of speech then become windows of their own; None decodes one after another
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, form in FORMS.items():
            object.__setattr__(self, name, form(name, getattr(self, name)))
        parameters = vad_form(self.vad_parameters, in_batches=self.batch_size is not None)
        object.__setattr__(self, "vad_parameters", parameters)
        for conflict in _conflicts(self):
            raise OptionError(conflict)

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any]) -> "TranscribeOptions":
        """Options from keyword arguments.

        Raises OptionError for one that does not exist, with what takes its place or the nearest name.
        """
        names = [field.name for field in fields(cls)]
        for name in keywords:
            if name in FOREIGN_NAMES:
                raise OptionError(f"{name}: no such option; {FOREIGN_NAMES[name]}")
            if name not in names:
                hint = did_you_mean(name, names) or f"available are {', '.join(names)}"
                raise OptionError(f"{name}: no such option; {hint}")
        return cls(**keywords)

    def resolve(self, dims: ModelDimensions) -> "TranscribeOptions":
        """These options for a model of `dims`: the language of an English-only model is `en`.

        Raises OptionError for what the model's vocabulary does not have: a language, a task, a token.
        """
        for name in ("suppress_tokens", "initial_prompt", "prefix"):
            tokens = getattr(self, name)
            beyond = [token for token in tokens if token >= dims.n_vocab] if isinstance(tokens, tuple) else []
            if beyond:
                raise OptionError(f"{name}: this model's tokens end at {dims.n_vocab - 1}, got {beyond[0]}")
        # A text to align has the start of the transcript before it, <|notimestamps|> and the end of the text.
        longest = dims.n_text_ctx - 5
        if self.word_timestamps and self.sample_len is not None and self.sample_len > longest:
            raise OptionError(f"sample_len: the words of at most {longest} tokens can be timed, got {self.sample_len}")
        if not dims.is_multilingual:
            if self.language not in (None, "en"):
                name = LANGUAGES[self.language]
                raise OptionError(
                    f"language: this model knows English only, got {self.language!r} ({name}); take one without .en"
                )
            if self.task != "transcribe":
                raise OptionError(f"task: an English-only model cannot {self.task}; take one without .en")
            if self.multilingual:
                raise OptionError("multilingual: this model knows English only; take one without .en")
            return replace(self, language="en")
        if self.language is not None and self.language not in tuple(LANGUAGES)[: dims.num_languages]:
            name = LANGUAGES[self.language]
            raise OptionError(f"language: this model has no {name} ({self.language}); large-v3 and turbo have it")
        return self

    @property
    def temperatures(self) -> tuple[float, ...]:
        """`temperature` as numbers, in the order in which they are tried; at least one."""
        return cast(tuple[float, ...], self.temperature)

    @property
    def suppressed(self) -> tuple[int, ...]:
        """`suppress_tokens` as numbers, -1 among them where it was given."""
        return cast(tuple[int, ...], self.suppress_tokens)

    @property
    def clips(self) -> tuple[float, ...]:
        """`clip_timestamps` as seconds, start and end in turn; at least one, and an odd number runs to the end."""
        return cast(tuple[float, ...], self.clip_timestamps)

    def for_reference(self) -> dict[str, Any]:
        """The keywords that ask openai-whisper's `transcribe` for the same.

        `seed` is not among them: PyTorch's generator is seeded outside of it.

        Raises OptionError, with their names, for options that differ from their defaults and that openai-whisper
        does not have.
        """
        defaults = TranscribeOptions()
        unknown = [name for name in NOT_IN_REFERENCE if getattr(self, name) != getattr(defaults, name)]
        if self.max_new_tokens is not None and self.prefix is not None:
            unknown.append("max_new_tokens")  # openai-whisper's sample_len would shorten the prefix
        if isinstance(self.initial_prompt, tuple):
            unknown.append("initial_prompt as tokens")
        if unknown:
            verb = "is" if len(unknown) == 1 else "are"
            raise OptionError(
                f"{', '.join(unknown)}: {verb} not in openai-whisper, which is the backend torch; "
                "take the backend max or hybrid"
            )
        known = [field.name for field in fields(self) if field.name not in NOT_IN_REFERENCE]
        keywords = {name: getattr(self, name) for name in known if name not in ("seed", "max_new_tokens")}
        # What is a tuple here is a list there.
        for name in ("suppress_tokens", "clip_timestamps", "prefix"):
            if isinstance(keywords[name], tuple):
                keywords[name] = list(keywords[name])
        return {**keywords, "sample_len": self.sample_len or self.max_new_tokens}


# Options that openai-whisper's `transcribe` has under no name.
NOT_IN_REFERENCE = (
    "multilingual",
    "language_detection_segments",
    "top_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "prompt_reset_on_temperature",
    "hotwords",
    "vad_filter",
    "vad_parameters",
    "batch_size",
)


def _conflicts(options: TranscribeOptions) -> Iterator[str]:
    """What is wrong with options that are right one by one, a line for each."""
    greedy, sampling = 0 in options.temperatures, max(options.temperatures) > 0
    if options.beam_size is not None and not greedy:
        yield "beam_size: beams are searched at temperature 0; add it to temperature, or give best_of instead"
    if options.patience is not None:
        if options.beam_size is None:
            yield "patience: it is beam search's; give beam_size too"
        elif round(options.beam_size * options.patience) < 1:
            yield f"patience: {options.beam_size} beams times {options.patience:g} are less than one; give a higher one"
    for name in ("best_of", "top_p"):
        if getattr(options, name) is not None and not sampling:
            yield f"{name}: tokens are drawn at temperatures above 0; add one to temperature, or leave {name} away"
    if None not in (options.sample_len, options.max_new_tokens) and options.sample_len != options.max_new_tokens:
        yield f"max_new_tokens: it is {options.max_new_tokens}, but sample_len {options.sample_len}; give one of them"
    if options.carry_initial_prompt and options.initial_prompt is None:
        yield "carry_initial_prompt: there is none; give initial_prompt too"
    if options.hotwords is not None and options.prefix is not None:
        yield "hotwords: they do nothing where every text begins with a prefix; give one of them"
    if options.multilingual and options.language is not None:
        yield "multilingual: the language is detected in each window; leave language away"
    if options.hallucination_silence_threshold is not None and not options.word_timestamps:
        yield "hallucination_silence_threshold: it judges by the words; set word_timestamps to True too"
    if options.vad_parameters is not None and not options.vad_filter and options.batch_size is None:
        yield "vad_parameters: speech is not looked for; set vad_filter to True or give batch_size too"
    if options.clips != (0.0,):
        for name in ("vad_filter", "batch_size"):
            if getattr(options, name):
                yield f"clip_timestamps: the clips or speech that is found, not both; leave {name} away"
