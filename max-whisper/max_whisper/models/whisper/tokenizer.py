"""Text to Whisper's tokens and back.

The vocabulary is GPT-2's byte-pair encoding (or its multilingual retraining) followed by Whisper's special tokens. Both
vocabularies are files of this package, written by `training/make_vocabulary.py` from openai-whisper's; tiktoken merges.
"""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from itertools import accumulate, pairwise
from pathlib import Path

import tiktoken

from max_whisper.errors import CheckpointError, OptionError
from max_whisper.models.whisper.languages import LANGUAGES, language_code

# GPT-2's split of text into words before byte-pair merging.
_WORD_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

# Languages written without spaces between words.
_LANGUAGES_WITHOUT_SPACES = ("zh", "ja", "th", "lo", "my", "yue")

_LAST_TIMESTAMP = 1500  # timestamp tokens run from <|0.00|> to <|30.00|> in steps of 20 ms


@dataclass(frozen=True)
class Tokenizer:
    """One vocabulary with a language and a task set; attributes and methods are openai-whisper's.

    `language` and `task` are None for an English-only vocabulary, whose prompt has neither.
    """

    encoding: tiktoken.Encoding
    special_tokens: dict[str, int]  # '<|endoftext|>' and so on -> token, in the order of the tokens
    num_languages: int
    language: str | None = None
    task: str | None = None

    def encode(self, text: str) -> list[int]:
        """Tokens of plain text. Raises ValueError where the text contains a special token's name."""
        # tiktoken looks for the names with a pattern of all of them, which takes a third of a second to compile.
        return self.encoding.encode(text) if "<|" in text else self.encoding.encode_ordinary(text)

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of tokens without the timestamps; bytes that are no UTF-8 become U+FFFD."""
        return self.encoding.decode([token for token in tokens if token < self.timestamp_begin])

    def decode_with_timestamps(self, tokens: Sequence[int]) -> str:
        """Text of tokens with timestamps written out, as in '<|1.08|>'."""
        return self.encoding.decode(list(tokens))

    @cached_property
    def sot_sequence(self) -> tuple[int, ...]:
        """What a transcript starts with: <|startoftranscript|>, then the language and the task where they are set."""
        sequence = [self.sot]
        if self.language is not None:
            sequence.append(self.language_token)
        if self.task is not None:
            sequence.append(self.transcribe if self.task == "transcribe" else self.translate)
        return tuple(sequence)

    @cached_property
    def sot_sequence_including_notimestamps(self) -> tuple[int, ...]:
        """`sot_sequence` followed by <|notimestamps|>."""
        return (*self.sot_sequence, self.no_timestamps)

    @cached_property
    def eot(self) -> int:
        """<|endoftext|>; every smaller token is text, every greater one is special."""
        return self.special_tokens["<|endoftext|>"]

    @cached_property
    def sot(self) -> int:
        """<|startoftranscript|>."""
        return self.special_tokens["<|startoftranscript|>"]

    @cached_property
    def transcribe(self) -> int:
        """<|transcribe|>: the task of writing the words in the language spoken."""
        return self.special_tokens["<|transcribe|>"]

    @cached_property
    def translate(self) -> int:
        """<|translate|>: the task of writing the words in English."""
        return self.special_tokens["<|translate|>"]

    @cached_property
    def sot_lm(self) -> int:
        """<|startoflm|>."""
        return self.special_tokens["<|startoflm|>"]

    @cached_property
    def sot_prev(self) -> int:
        """<|startofprev|>: what comes before a prompt of previous text."""
        return self.special_tokens["<|startofprev|>"]

    @cached_property
    def no_speech(self) -> int:
        """<|nospeech|>; its probability after <|startoftranscript|> is the window's no_speech_prob."""
        return self.special_tokens["<|nospeech|>"]

    @cached_property
    def no_timestamps(self) -> int:
        """<|notimestamps|>."""
        return self.special_tokens["<|notimestamps|>"]

    @cached_property
    def timestamp_begin(self) -> int:
        """<|0.00|>, the first of 1501 timestamps and the first token after all others."""
        return self.special_tokens["<|0.00|>"]

    @cached_property
    def language_token(self) -> int:
        """The token of `language`. Raises ValueError where no language is set."""
        if self.language is None:
            raise ValueError("this tokenizer has no language set")
        return self.to_language_token(self.language)

    def to_language_token(self, language: str) -> int:
        """The token of a language code. Raises KeyError where this vocabulary does not have it."""
        if language not in self.all_language_codes:
            raise KeyError(f"language {language!r} is not in this vocabulary")
        return self.special_tokens[f"<|{language}|>"]

    @cached_property
    def all_language_codes(self) -> tuple[str, ...]:
        """The codes of this vocabulary's languages, in the order of their tokens."""
        return tuple(LANGUAGES)[: self.num_languages]

    @cached_property
    def all_language_tokens(self) -> tuple[int, ...]:
        """The tokens of `all_language_codes`."""
        return tuple(self.to_language_token(code) for code in self.all_language_codes)

    @cached_property
    def non_speech_tokens(self) -> tuple[int, ...]:
        """Tokens of what is written but not spoken: brackets, speaker tags, music signs; in ascending order.

        Forbidden by default, so that '[MUSIC]' or '♪♪♪' is never written. Hyphens and single quotes stay allowed
        within a word and are forbidden at its beginning.
        """
        symbols = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』']
        symbols += ["<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("', "((", "))", "(((", ")))"]
        symbols += ["[[", "]]", "{{", "}}", "♪♪", "♪♪♪"]
        # Signs from U+2640 to U+267F may take several tokens; their first token is forbidden then, which is safe
        # because all signs of that block begin with the same two bytes of UTF-8.
        signs = [*"♩♪♫♬♭♮♯"]
        tokens = {self.encode(" -")[0], self.encode(" '")[0]}
        for symbol in symbols + signs:
            for encoded in (self.encode(symbol), self.encode(" " + symbol)):
                if len(encoded) == 1 or symbol in signs:
                    tokens.add(encoded[0])
        return tuple(sorted(tokens))

    def split_to_word_tokens(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """The words of a text and the tokens of each, as openai-whisper has them.

        A word begins with a space, or is punctuation or a special token. In languages written without spaces it is
        what the fewest tokens make that end with a whole character. Where characters are broken, the last tokens may
        be in no word.
        """
        if self.language in _LANGUAGES_WITHOUT_SPACES:
            return self.split_tokens_on_unicode(tokens)
        return self.split_tokens_on_spaces(tokens)

    def split_tokens_on_unicode(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """The pieces of a text that end with a whole character, and the tokens of each."""
        text = self.decode_with_timestamps(tokens)
        words: list[str] = []
        word_tokens: list[list[int]] = []
        current: list[int] = []
        n_characters = 0
        for token in tokens:
            current.append(token)
            word = self.decode_with_timestamps(current)
            broken = word.find("\ufffd")
            # A character that is broken in the whole text too stays so, whatever tokens follow.
            if broken < 0 or text[n_characters + broken : n_characters + broken + 1] in ("\ufffd", ""):
                words.append(word)
                word_tokens.append(current)
                current = []
                n_characters += len(word)
        return words, word_tokens

    def split_tokens_on_spaces(self, tokens: Sequence[int]) -> tuple[list[str], list[list[int]]]:
        """The words of a text with spaces between words, and the tokens of each."""
        words: list[str] = []
        word_tokens: list[list[int]] = []
        for piece, piece_tokens in zip(*self.split_tokens_on_unicode(tokens), strict=True):
            is_special = piece_tokens[0] >= self.eot
            is_punctuation = piece.strip() in string.punctuation
            if is_special or is_punctuation or piece.startswith(" ") or not words:
                words.append(piece)
                word_tokens.append(piece_tokens)
            else:
                words[-1] += piece
                word_tokens[-1] += piece_tokens
        return words, word_tokens


@cache
def get_tokenizer(
    multilingual: bool, *, num_languages: int = 99, language: str | None = None, task: str | None = None
) -> Tokenizer:
    """The tokenizer of a model's vocabulary.

    A multilingual one has English and `transcribe` set where `language` and `task` are None; an English-only one has
    neither and ignores both. `num_languages` is 99, or 100 from large-v3 on.

    Raises OptionError for a language that Whisper or this vocabulary does not have, CheckpointError where the
    vocabulary file is absent or damaged.
    """
    code = None if language is None else language_code(language)
    if multilingual:
        code, task = code or "en", task or "transcribe"
        if code not in tuple(LANGUAGES)[:num_languages]:
            raise OptionError(
                f"language: this model's vocabulary has no {LANGUAGES[code]} ({code}); large-v3 and turbo have it"
            )
    else:
        code = task = None
    encoding, special_tokens = _load_vocabulary("multilingual" if multilingual else "gpt2", num_languages)
    return Tokenizer(encoding, special_tokens, num_languages, code, task)


@cache
def _load_vocabulary(name: str, num_languages: int) -> tuple[tiktoken.Encoding, dict[str, int]]:
    """The byte-pair encoding of a vocabulary file with Whisper's special tokens behind it, and those by name."""
    ranks = _read_ranks(name)
    specials = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in tuple(LANGUAGES)[:num_languages]),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(f"<|{index * 0.02:.2f}|>" for index in range(_LAST_TIMESTAMP + 1)),
    ]
    special_tokens = {special: len(ranks) + index for index, special in enumerate(specials)}
    encoding = tiktoken.Encoding(
        name=name,
        explicit_n_vocab=len(ranks) + len(special_tokens),
        pat_str=_WORD_PATTERN,
        mergeable_ranks=ranks,
        special_tokens=special_tokens,
    )
    return encoding, special_tokens


def _read_ranks(name: str) -> dict[bytes, int]:
    """The tokens of the vocabulary `name` and their ranks; `training/make_vocabulary.py` describes the file.

    Raises CheckpointError where the file is absent or cut short.
    """
    path = Path(str(resources.files("max_whisper") / "assets" / f"{name}.vocabulary"))
    try:
        content = path.read_bytes()
    except OSError:
        raise CheckpointError(
            f"{path}: the vocabulary is not in this installation; install max-whisper again"
        ) from None
    n_tokens = int.from_bytes(content[:4], "little")
    ends = list(accumulate(content[4 : 4 + n_tokens], initial=4 + n_tokens))
    if len(ends) != n_tokens + 1 or ends[-1] != len(content):
        raise CheckpointError(f"{path}: the vocabulary is cut short; install max-whisper again")
    return {content[start:end]: rank for rank, (start, end) in enumerate(pairwise(ends))}
