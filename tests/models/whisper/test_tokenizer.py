"""Our tokenizer against openai-whisper's, on its three vocabularies."""

# ruff: noqa: RUF001 (letters of many scripts look alike)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import whisper.tokenizer

from max_whisper.errors import CheckpointError, OptionError
from max_whisper.models.whisper import tokenizer
from max_whisper.models.whisper.languages import LANGUAGE_ALIASES, LANGUAGES, language_code
from max_whisper.models.whisper.tokenizer import get_tokenizer
from training.make_vocabulary import ASSETS, NAMES, published_folder, read_tiktoken, vocabulary_bytes

VOCABULARIES = [
    pytest.param(False, 99, id="english"),
    pytest.param(True, 99, id="multilingual"),
    pytest.param(True, 100, id="large-v3"),
]

TEXTS = [
    "",
    " ",
    "  two spaces,\ta tab\nand a line\r\n",
    " And so my fellow Americans, ask not what your country can do for you.",
    "It's 3:45 p.m. — we'll've paid $1,234.56 (or €99)! Don't you think? YES... no_way@example.org",
    "Der Fluß fließt über die Straße; größer, schöner, älter.",
    "Où est passé l'été ? Ça va très bien, n'est-ce pas…",
    "¿Dónde está el niño? ¡Mañana vendrá!",
    "Привет, как дела? Сегодня хорошая погода.",
    "今天天气很好，我们去公园吧。",
    "今日はとても天気がいいですね。カタカナも。",
    "오늘 날씨가 정말 좋네요.",
    "مرحبا، كيف حالك اليوم؟",
    "שלום, מה שלומך?",
    "नमस्ते, आप कैसे हैं?",
    "สวัสดีครับ วันนี้อากาศดี",
    "Γειά σου Κόσμε, τι κάνεις;",
    "Xin chào, hôm nay trời đẹp quá.",
    "Բարեւ, ինչպես ես",
    "გამარჯობა მსოფლიო",
    "ሰላም ለዓለም",
    "👍🏽 🏳️‍🌈 ♪♪♪ [MUSIC] (LAUGHTER) <<b>> {c} ~ ^ | \\ `",
    "e\u0301 combining, \u200bzero width, \u00a0no-break, \ufeffmark",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaa 1111111111111111111 ........................",
]


@pytest.mark.parametrize(("multilingual", "num_languages"), VOCABULARIES)
class TestVocabulary:
    def test_special_tokens(self, multilingual: bool, num_languages: int) -> None:
        ours = get_tokenizer(multilingual, num_languages=num_languages)
        reference = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages)
        assert ours.special_tokens == reference.special_tokens
        assert len(ours.special_tokens) == 1501 + 8 + num_languages
        assert ours.encoding.n_vocab == reference.encoding.n_vocab == 51765 + multilingual + num_languages
        names = [
            "eot",
            "sot",
            "transcribe",
            "translate",
            "sot_lm",
            "sot_prev",
            "no_speech",
            "no_timestamps",
            "timestamp_begin",
        ]
        assert [getattr(ours, name) for name in names] == [getattr(reference, name) for name in names]
        assert ours.non_speech_tokens == reference.non_speech_tokens

    def test_languages(self, multilingual: bool, num_languages: int) -> None:
        ours = get_tokenizer(multilingual, num_languages=num_languages)
        reference = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages)
        # openai-whisper's order is that of a Python set, another one in each process; ours is that of the tokens.
        assert dict(zip(ours.all_language_codes, ours.all_language_tokens, strict=True)) == dict(
            zip(reference.all_language_codes, reference.all_language_tokens, strict=True)
        )
        assert list(ours.all_language_tokens) == list(range(ours.sot + 1, ours.sot + 1 + num_languages))
        for code in ours.all_language_codes:
            assert ours.to_language_token(code) == reference.to_language_token(code)
        with pytest.raises(KeyError, match="xx"):
            ours.to_language_token("xx")

    def test_sot_sequence(self, multilingual: bool, num_languages: int) -> None:
        for language in (None, "en", "de", "su", "Japanese", "castilian"):
            for task in (None, "transcribe", "translate"):
                options: dict[str, Any] = {"num_languages": num_languages, "language": language, "task": task}
                ours = get_tokenizer(multilingual, **options)
                reference = whisper.tokenizer.get_tokenizer(multilingual, **options)
                assert ours.sot_sequence == reference.sot_sequence
                assert ours.sot_sequence_including_notimestamps == reference.sot_sequence_including_notimestamps
                assert (ours.language, ours.task) == (reference.language, reference.task)
                if multilingual:
                    assert ours.language_token == reference.language_token

    def test_every_token(self, multilingual: bool, num_languages: int) -> None:
        """Each id has the same bytes, and the same bytes have the id."""
        ours = get_tokenizer(multilingual, num_languages=num_languages).encoding
        reference = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages).encoding
        tokens = list(range(ours.n_vocab))
        pieces = reference.decode_tokens_bytes(tokens)
        assert ours.decode_tokens_bytes(tokens) == pieces
        assert [ours.encode_single_token(piece) for piece in pieces] == [
            reference.encode_single_token(piece) for piece in pieces
        ]

    def test_encode_and_decode(self, multilingual: bool, num_languages: int) -> None:
        ours = get_tokenizer(multilingual, num_languages=num_languages)
        reference = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages)
        for text in TEXTS:
            tokens = ours.encode(text)
            assert tokens == reference.encode(text)
            assert ours.decode(tokens) == text

    def test_decode_any_tokens(self, multilingual: bool, num_languages: int) -> None:
        """Broken UTF-8, special tokens and timestamps among them."""
        ours = get_tokenizer(multilingual, num_languages=num_languages)
        reference = whisper.tokenizer.get_tokenizer(multilingual, num_languages=num_languages)
        rng = np.random.default_rng(0)
        for _ in range(300):
            tokens = rng.integers(0, ours.encoding.n_vocab, size=int(rng.integers(1, 30))).tolist()
            tokens += rng.integers(ours.eot, ours.encoding.n_vocab, size=3).tolist()
            assert ours.decode(tokens) == reference.decode(tokens)
            assert ours.decode(tuple(tokens)) == reference.decode(tokens)
            assert ours.decode_with_timestamps(tokens) == reference.decode_with_timestamps(tokens)

    @pytest.mark.parametrize("language", ["en", "zh", "ja", "th", "lo", "my", "last"])
    def test_split_to_word_tokens(self, multilingual: bool, num_languages: int, language: str) -> None:
        if language == "last":
            language = tuple(LANGUAGES)[num_languages - 1]
        options: dict[str, Any] = {"num_languages": num_languages, "language": language}
        ours = get_tokenizer(multilingual, **options)
        reference = whisper.tokenizer.get_tokenizer(multilingual, **options)
        rng = np.random.default_rng(0)
        texts = [ours.encode(text) for text in TEXTS]
        # Tokens of broken UTF-8 among them, and characters whose bytes the text ends within.
        texts += [rng.integers(0, ours.eot, size=int(rng.integers(1, 30))).tolist() for _ in range(100)]
        texts += [ours.encode(text)[:-1] for text in TEXTS if text]
        for tokens in texts:
            assert ours.split_to_word_tokens([*tokens, ours.eot]) == reference.split_to_word_tokens(
                [*tokens, reference.eot]
            )

    def test_text_cannot_forge_special_tokens(self, multilingual: bool, num_languages: int) -> None:
        with pytest.raises(ValueError, match="endoftext"):
            get_tokenizer(multilingual, num_languages=num_languages).encode("<|endoftext|>")


@pytest.mark.parametrize("name", NAMES)
def test_the_package_holds_what_openai_whisper_publishes(name: str) -> None:
    tokens = read_tiktoken((published_folder() / f"{name}.tiktoken").read_bytes())
    assert (ASSETS / f"{name}.vocabulary").read_bytes() == vocabulary_bytes(tokens)


def test_published_ranks_without_one_are_refused() -> None:
    assert read_tiktoken(b"IQ== 1\nIg== 0\n") == [b'"', b"!"]
    with pytest.raises(ValueError, match="ranks"):
        read_tiktoken(b"IQ== 0\nIg== 2\n")


def test_language_tables_equal_the_reference() -> None:
    assert list(LANGUAGES.items()) == list(whisper.tokenizer.LANGUAGES.items())
    names = {name: code for code, name in LANGUAGES.items()}
    assert {**names, **LANGUAGE_ALIASES} == whisper.tokenizer.TO_LANGUAGE_CODE
    for name, code in whisper.tokenizer.TO_LANGUAGE_CODE.items():
        assert language_code(name.title()) == code
    assert [language_code(f" {code.upper()} ") for code in LANGUAGES] == list(LANGUAGES)


@pytest.mark.parametrize(
    ("language", "hint"),
    [("englisch", "did you mean english"), ("", "give a code"), ("xx", "give a code"), ("japan", "japanese")],
)
def test_unknown_language(language: str, hint: str) -> None:
    with pytest.raises(OptionError, match=hint) as raised:
        language_code(language)
    assert repr(language) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_language_later_than_the_vocabulary() -> None:
    with pytest.raises(OptionError, match="cantonese"):
        get_tokenizer(True, num_languages=99, language="yue")
    assert get_tokenizer(True, num_languages=100, language="cantonese").language_token == 50358


def test_english_only_has_no_language_token() -> None:
    with pytest.raises(ValueError, match="no language"):
        _ = get_tokenizer(False).language_token


def test_split_of_text_with_broken_characters_that_merge() -> None:
    """The first token's last character and the second's first are one in the text: the reference ends in an error."""
    tokens = [36733, 25746, 98]
    with pytest.raises(IndexError):
        whisper.tokenizer.get_tokenizer(True).split_tokens_on_unicode(tokens)
    words, word_tokens = get_tokenizer(True).split_tokens_on_unicode(tokens)
    assert words == ["\ufffd", " 불\ufffd", "\ufffd"]
    assert word_tokens == [[36733], [25746], [98]]


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package folder of the test's own, in which the vocabularies are looked for."""
    for cached in (get_tokenizer, tokenizer._load_vocabulary):
        cached.cache_clear()
    monkeypatch.setattr(tokenizer.resources, "files", lambda package: tmp_path)
    folder = tmp_path / "assets"
    folder.mkdir()
    yield folder
    for cached in (get_tokenizer, tokenizer._load_vocabulary):
        cached.cache_clear()


def test_a_vocabulary_that_is_absent(assets: Path) -> None:
    with pytest.raises(CheckpointError, match=r"assets/multilingual\.vocabulary: .* not in this installation.*again$"):
        get_tokenizer(True)


@pytest.mark.parametrize("n_bytes", [0, 3, 4, 5, 7, 8])
def test_a_vocabulary_that_is_cut_short(assets: Path, n_bytes: int) -> None:
    (assets / "gpt2.vocabulary").write_bytes(vocabulary_bytes([b"!", b"", b"ab"])[:n_bytes])
    with pytest.raises(CheckpointError, match=r"assets/gpt2\.vocabulary: the vocabulary is cut short"):
        get_tokenizer(False)


def test_a_vocabulary_is_read_from_the_package(assets: Path) -> None:
    (assets / "gpt2.vocabulary").write_bytes(vocabulary_bytes([b"a", b"b", b"ab"]))
    made_up = get_tokenizer(False)
    assert made_up.encode("abb") == [2, 1]
    assert made_up.eot == 3


@pytest.mark.parametrize(
    "text", [" -", "♪♪♪", " Hello, world", "", "a <| b", "<|nothing|>", "\ud800"]
)  # the last is no text
def test_plain_text_is_encoded_as_tiktoken_does(text: str) -> None:
    tokenizer = get_tokenizer(multilingual=True)
    assert all(name.startswith("<|") for name in tokenizer.special_tokens)
    assert tokenizer.encode(text) == tokenizer.encoding.encode(text)
