import pytest

from max_whisper.diagnostics.word_errors import WordErrors, normalize, total, word_errors


def test_case_and_punctuation_do_not_count() -> None:
    assert normalize(" Don't stop:  it's 4 o'clock! ") == "don't stop it's 4 o'clock"
    assert word_errors("turn off the light", " Turn off the light.") == WordErrors(0, 4)


@pytest.mark.parametrize(
    ("text", "errors"),
    [("one two three", 0), ("one too three", 1), ("one three", 1), ("one two two three", 1), ("", 3), ("four five", 3)],
)
def test_substitutions_deletions_and_insertions(text: str, errors: int) -> None:
    assert word_errors("one two three", text) == WordErrors(errors, 3)


def test_words_where_nothing_is_said_are_errors_without_a_rate() -> None:
    assert word_errors("", "thank you") == WordErrors(2, 0)
    assert word_errors("", "").rate is None
    assert total([word_errors("", "thank you"), word_errors("a b c d", "a b c d")]).rate == 0.5


def test_long_recordings_weigh_more() -> None:
    assert total([WordErrors(1, 1), WordErrors(0, 9)]).rate == pytest.approx(0.1)
    assert total([]).rate is None
