"""The options of a transcription, under openai-whisper's names, and faster-whisper's where only that has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from max_whisper.audio.reading import ReadingOptions
from max_whisper.checks import Form, integer, number, optional, truth, word
from max_whisper.definitions import FASTER, OPENAI, CommandLine, check_names, option, options_of
from max_whisper.errors import OptionError
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.languages import LANGUAGES
from max_whisper.options.checks import CHARACTERS, CLIPS, HOTWORDS, LANGUAGE, PREFIX, PROMPT, TEMPERATURE, TOKEN_NUMBERS
from max_whisper.options.foreign_names import FOREIGN_NAMES

if TYPE_CHECKING:
    from max_whisper.audio.vad.parameters import VadParameters

DEFAULT_BATCH_SIZE = 8  # windows, where several can be decoded at once and no number is given

_BOTH = (OPENAI, FASTER)

# Parts of the help and of the page of options.
_LANGUAGE = "language"
TOKENS = "choosing tokens"
_FAILURE = "repetition and silence"
_PROMPTS = "prompts"
_TIMES = "times and words"
_PARTS = "parts of the recording"
AT_ONCE = "several windows at once"

_THRESHOLD = optional(number("a number or None"))
_N_TOKENS = optional(integer("a number of tokens of at least 1, or None", 1))


def _vad_parameters(name: str, value: Any) -> VadParameters:
    from max_whisper.audio.vad.parameters import VadParameters

    return VadParameters.from_value(value)


_VAD = Form("a dictionary, such as {'threshold': 0.6}, or None", str, "FIELDS", _vad_parameters)


@dataclass(frozen=True)
class TranscribeOptions(ReadingOptions):
    """The options of a transcription, after those of reading its recording; the defaults are openai-whisper's.

    Values and their combinations are checked as the object is made, and against a model's vocabulary by `resolve`;
    both raise OptionError with one line that begins with the option's name. Each value is kept in one form, whichever
    of the accepted forms it is given in.
    """

    language: str | None = option(
        None,
        help="language spoken: a code (de), a tag (de-AT) or an English name (German); None and auto detect it",
        group=_LANGUAGE,
        form=optional(LANGUAGE),
        origin=_BOTH,
        command_line=CommandLine(
            help="language spoken: a code (de), a tag (de-AT) or an English name (German); else it is detected"
        ),
    )
    task: Literal["transcribe", "translate"] = option(
        "transcribe",
        help="the text to write: transcribe is in the language spoken, translate in English",
        group=_LANGUAGE,
        form=word(("transcribe", "translate"), "'transcribe' or 'translate'"),
        origin=_BOTH,
    )
    multilingual: bool = option(
        False,
        help="whether the language is detected again in each window of 30 s",
        group=_LANGUAGE,
        form=truth(),
        origin=(FASTER,),
    )
    language_detection_segments: int = option(
        1,
        help="windows of 30 s, from the beginning, in which the language is detected",
        group=_LANGUAGE,
        form=integer("a number of windows of at least 1", 1),
        origin=(FASTER,),
    )

    temperature: float | Sequence[float] = option(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        help="one softmax temperature or several: each is tried where the text at the one before it failed a "
        "threshold; at 0 the most probable token is taken, above it tokens are drawn",
        group=TOKENS,
        form=TEMPERATURE,
        origin=_BOTH,
        command_line=CommandLine(default=0.0, help="softmax temperature; at 0 the most probable token is taken"),
    )
    best_of: int | None = option(
        None,
        help="texts drawn at a temperature above 0, of which the most probable is kept; None draws one",
        group=TOKENS,
        form=optional(integer("a number of samples of at least 1, or None", 1)),
        origin=_BOTH,
        command_line=CommandLine(default=5, is_late=True),
    )
    beam_size: int | None = option(
        None,
        help="hypotheses of beam search at temperature 0; None takes the most probable token of a single one",
        group=TOKENS,
        form=optional(integer("a number of beams of at least 1, or None", 1)),
        origin=_BOTH,
        command_line=CommandLine(default=5, is_late=True),
    )
    patience: float | None = option(
        None,
        help="beam search goes on until round(beam_size * patience) texts have ended (Kasai et al. 2022); None is 1",
        group=TOKENS,
        form=optional(number("a number above 0, or None", lambda number: 0 < number < math.inf)),
        origin=_BOTH,
    )
    length_penalty: float | None = option(
        None,
        help="exponent from 0 to 1 of the length by which a text's log probability is divided (Wu et al. 2016); "
        "None divides by the number of tokens",
        group=TOKENS,
        form=optional(number("a number from 0 to 1, or None", lambda number: 0 <= number <= 1)),
        origin=_BOTH,
    )
    top_p: float | None = option(
        None,
        help="probability: above temperature 0 tokens are drawn from the smallest set of the most probable ones that "
        "reaches it (Holtzman et al. 2020); None draws from all",
        group=TOKENS,
        form=optional(number("a probability above 0 and at most 1, or None", lambda number: 0 < number <= 1)),
    )
    repetition_penalty: float = option(
        1.0,
        help="divides the positive and multiplies the negative logits of tokens that the window has already (Keskar et "
        "al. 2019); 1 changes nothing",
        group=TOKENS,
        form=number("a number above 0; 1 changes nothing", lambda number: 0 < number < math.inf),
        origin=(FASTER,),
    )
    no_repeat_ngram_size: int = option(
        0,
        help="tokens: no run of this length occurs twice in a window; 0 forbids nothing",
        group=TOKENS,
        form=integer("a number of tokens; 0 forbids nothing", 0),
        origin=(FASTER,),
    )
    seed: int = option(
        0,
        help="seed of the random generators that draw tokens; the same seed gives the same text again",
        group=TOKENS,
        form=integer("a whole number of at least 0", 0),
    )
    sample_len: int | None = option(
        None,
        help="the most tokens of a window; None is half of the decoder's context, 224",
        group=TOKENS,
        form=_N_TOKENS,
        origin=(OPENAI,),
    )
    max_new_tokens: int | None = option(
        None,
        help="as sample_len, but a prefix is never shortened for it",
        group=TOKENS,
        form=_N_TOKENS,
        origin=(FASTER,),
    )
    suppress_tokens: str | Iterable[int] | None = option(
        "-1",
        help="numbers of tokens that are never chosen, as a list or with commas; -1 stands for characters that are "
        "written but not spoken; None forbids nothing, not even the special tokens",
        group=TOKENS,
        form=TOKEN_NUMBERS,
        origin=_BOTH,
    )
    suppress_blank: bool = option(
        True,
        help="whether a window may not begin with a blank or with the end of the text",
        group=TOKENS,
        form=truth(),
        origin=_BOTH,
    )

    compression_ratio_threshold: float | None = option(
        2.4,
        help="bytes of text for each byte of it compressed by zlib: above it the text is a repetition and the next "
        "temperature is tried; None never tries it",
        group=_FAILURE,
        form=_THRESHOLD,
        origin=_BOTH,
    )
    logprob_threshold: float | None = option(
        -1.0,
        help="natural logarithm of probability, mean over the tokens of a window: below it the next temperature is "
        "tried; None never tries it, and no_speech_threshold decides alone",
        group=_FAILURE,
        form=_THRESHOLD,
        origin=_BOTH,
    )
    no_speech_threshold: float | None = option(
        0.6,
        help="probability of no speech above which a window is silence, unless its mean log probability is above "
        "logprob_threshold; None skips no window",
        group=_FAILURE,
        form=_THRESHOLD,
        origin=_BOTH,
    )

    initial_prompt: str | Sequence[int] | None = option(
        None,
        help="text or tokens before the first window: names, words and style to expect; of too long a one the end "
        "counts",
        group=_PROMPTS,
        form=optional(PROMPT),
        origin=_BOTH,
        command_line=CommandLine(flags=("--prompt",)),
    )
    carry_initial_prompt: bool = option(
        False,
        help="whether initial_prompt stands before every window",
        group=_PROMPTS,
        form=truth(),
        origin=(OPENAI,),
    )
    condition_on_previous_text: bool = option(
        True,
        help="whether the text so far is the prompt of the next window",
        group=_PROMPTS,
        form=truth(),
        origin=_BOTH,
    )
    prompt_reset_on_temperature: float = option(
        0.5,
        help="temperature: after a window decoded at a higher one the text so far is forgotten",
        group=_PROMPTS,
        form=number("a temperature of at least 0", lambda number: number >= 0),
        origin=(FASTER,),
    )
    prefix: str | Sequence[int] | None = option(
        None,
        help="text or tokens with which the text of every window begins",
        group=_PROMPTS,
        form=optional(PREFIX),
        origin=_BOTH,
    )
    hotwords: str | None = option(
        None,
        help="words to expect, in the prompt of every window",
        group=_PROMPTS,
        form=optional(HOTWORDS),
        origin=(FASTER,),
    )

    without_timestamps: bool = option(
        False,
        help="True forbids timestamps: one segment for each window of 30 s",
        group=_TIMES,
        form=truth(),
        origin=_BOTH,
    )
    max_initial_timestamp: float | None = option(
        1.0,
        help="seconds from the window's start: the first timestamp is at most this; None and 0 set no limit",
        group=_TIMES,
        form=optional(number("seconds from 0 to 30, or None", lambda number: 0 <= number <= 30, "SECONDS")),
        origin=_BOTH,
    )
    word_timestamps: bool = option(
        False,
        help="whether segments have their words, each with its times and probability",
        group=_TIMES,
        form=truth(),
        origin=_BOTH,
    )
    prepend_punctuations: str = option(
        "\"'“¿([{-",
        help="characters that belong to the word after them",
        group=_TIMES,
        form=CHARACTERS,
        origin=_BOTH,
    )
    append_punctuations: str = option(
        "\"'.。,，!！?？:：”)]}、",  # noqa: RUF001
        help="characters that belong to the word before them",
        group=_TIMES,
        form=CHARACTERS,
        origin=_BOTH,
    )
    hallucination_silence_threshold: float | None = option(
        None,
        help="seconds: a longer silence around words that look made up is skipped, and they with it; None skips none; "
        "needs word_timestamps",
        group=_TIMES,
        form=optional(number("seconds of at least 0, or None", lambda number: 0 <= number < math.inf, "SECONDS")),
        origin=_BOTH,
    )

    clamp_timestamps: bool = option(
        True,
        help="whether no segment or word begins or ends outside of its clip and recording; False leaves times as the "
        "model writes them, up to 30 s behind the end, as openai-whisper does; with vad_filter or chunking='vad' they "
        "stay in the speech in any case",
        group=_TIMES,
        form=truth(),
    )
    clip_timestamps: str | Sequence[float] = option(
        "0",
        help="seconds, start,end,start,end,...: the parts to transcribe; without the last end, to the recording's",
        group=_PARTS,
        form=CLIPS,
        origin=_BOTH,
    )
    vad_filter: bool = option(
        False,
        help="whether parts without speech are cut out before decoding, by Silero VAD; times stay those of the "
        "recording",
        group=_PARTS,
        form=truth(),
        origin=(FASTER,),
    )
    vad_parameters: VadParameters | Mapping[str, Any] | None = option(  # noqa: RUF009
        None,
        help="fields of VadParameters that differ from their defaults; needs vad_filter or chunking",
        group=_PARTS,
        form=optional(_VAD),
        origin=(FASTER,),
        command_line=None,
    )

    chunking: Literal["sequential", "vad"] = option(
        "sequential",
        help="sequential: windows follow each other, each where the text of the one before it ends, as in "
        "openai-whisper; vad: stretches of speech of at most 30 s, each decoded by itself, several at once",
        group=AT_ONCE,
        form=word(("sequential", "vad"), "'sequential' or 'vad'"),
    )
    batch_size: int | None = option(
        None,
        help="windows decoded at once, of stretches of speech (chunking vad) or of several recordings; None is "
        f"{DEFAULT_BATCH_SIZE} there",
        group=AT_ONCE,
        form=optional(integer("a number of windows of at least 1, or None", 1)),
        origin=(FASTER,),
    )

    def __post_init__(self) -> None:
        given = self.vad_parameters
        super().__post_init__()
        if isinstance(given, Mapping):
            # Kept as given, as `dataclasses.replace` may change the use on which the other fields' defaults depend.
            object.__setattr__(self, "vad_parameters", dict(given))
        for conflict in _conflicts(self):
            raise OptionError(conflict)

    @classmethod
    def elsewhere(cls) -> Mapping[str, str]:
        """Names in other programs."""
        return FOREIGN_NAMES

    @classmethod
    def from_keywords(cls, keywords: Mapping[str, Any], options: TranscribeOptions | None = None) -> TranscribeOptions:
        """Options from keyword arguments, which come before the fields of `options`, and those before the defaults.

        Raises OptionError for a keyword that does not exist, with what takes its place or the nearest name.
        """
        check_names(cls, keywords)
        if options is None:
            return cls(**keywords)
        if not isinstance(options, cls):
            raise OptionError(f"options: a TranscribeOptions, got {type(options).__name__}; give others as keywords")
        return options.updated(keywords)

    def updated(self, keywords: Mapping[str, Any]) -> TranscribeOptions:
        """These options but for some."""
        fields = {definition.name: getattr(self, definition.name) for definition in options_of(TranscribeOptions)}
        return TranscribeOptions(**{**fields, **keywords})

    def resolve(self, dims: ModelDimensions) -> TranscribeOptions:
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
            return self.updated({"language": "en"})
        if self.language is not None and self.language not in tuple(LANGUAGES)[: dims.num_languages]:
            name = LANGUAGES[self.language]
            raise OptionError(f"language: this model has no {name} ({self.language}); large-v3 and turbo have it")
        return self

    def for_one_recording(self) -> TranscribeOptions:
        """These options, where they are for a single recording.

        Raises OptionError for a batch size where the windows follow each other.
        """
        if self.batch_size is not None and self.chunking == "sequential":
            raise OptionError(
                'batch_size: the windows of one recording follow each other; add chunking="vad" to decode its '
                "stretches of speech at once, as faster-whisper's BatchedInferencePipeline does"
            )
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

    @property
    def speech(self) -> VadParameters | None:
        """`vad_parameters` over the defaults of their use; None where none were given."""
        if self.vad_parameters is None:
            return None
        from max_whisper.audio.vad.parameters import CHUNKED, VadParameters

        return VadParameters.from_value(self.vad_parameters, CHUNKED if self.chunking == "vad" else VadParameters())

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
        known = [definition.name for definition in options_of(TranscribeOptions) if OPENAI in definition.origin]
        keywords = {name: getattr(self, name) for name in known}
        # What is a tuple here is a list there.
        for name in ("suppress_tokens", "clip_timestamps", "prefix"):
            if isinstance(keywords[name], tuple):
                keywords[name] = list(keywords[name])
        return {**keywords, "sample_len": self.sample_len or self.max_new_tokens}


# The backend torch has these beside the keywords of openai-whisper's `transcribe`: as PyTorch's seed, as `sample_len`,
# and in what is made of its result.
UNDER_ANOTHER_NAME = ("seed", "max_new_tokens", "clamp_timestamps")

# A recording is read before any backend hears of it: openai-whisper is given the samples.
BEFORE_THE_BACKEND = tuple(definition.name for definition in options_of(ReadingOptions))

# Options that openai-whisper's `transcribe` has in no way.
NOT_IN_REFERENCE = tuple(
    definition.name
    for definition in options_of(TranscribeOptions)
    if OPENAI not in definition.origin and definition.name not in (*UNDER_ANOTHER_NAME, *BEFORE_THE_BACKEND)
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
    is_chunked = options.chunking == "vad"
    if options.vad_parameters is not None and not options.vad_filter and not is_chunked:
        yield "vad_parameters: speech is not looked for; set vad_filter to True or chunking to vad too"
    if options.clips != (0.0,):
        for name, looks_for_speech in (("vad_filter", options.vad_filter), ("chunking", is_chunked)):
            if looks_for_speech:
                yield f"clip_timestamps: the clips or speech that is found, not both; leave {name} away"
