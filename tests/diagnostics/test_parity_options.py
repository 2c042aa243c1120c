import copy
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from max_whisper.diagnostics import parity_options
from max_whisper.diagnostics.option_cases import CASES, FALLBACK_CASES, MODELS, NANO, NOT_COMPARED, Case, samples
from max_whisper.diagnostics.option_comparison import Comparison, Pair, compare, compare_results
from max_whisper.diagnostics.option_report import Report, differing, page, summary
from max_whisper.diagnostics.sampling_parity import chi_square_test, compare_first_token
from max_whisper.diagnostics.screen import output_console
from max_whisper.errors import OptionError
from max_whisper.options import TranscribeOptions
from max_whisper.progress import silent
from max_whisper.results import Transcription

ROOT = Path(__file__).resolve().parents[2]
WORDS = {"word_timestamps": True}
SHORT = Case(NANO, "greeting", {"beam_size": 2, "initial_prompt": "good morning"})
PAIRED = Case(NANO, "dialogue", {"suppress_tokens": [2309, 294, 3847], "clip_timestamps": "3,9", "temperature": 0.0})
SUBTITLED = Case(NANO, "digits", WORDS, {"max_words_per_line": 3, "highlight_words": True})
DRAWN = Case(NANO, "greeting", {"logprob_threshold": 0.0, "without_timestamps": True}, is_drawn=True)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair.load(NANO, "max", "cpu", silent)


@pytest.mark.parametrize("case", [SHORT, PAIRED, SUBTITLED, DRAWN], ids=lambda case: case.described)
def test_cases_end_to_end(pair: Pair, case: Case) -> None:
    outcome = compare(pair, case)
    assert outcome.differences == []
    assert outcome.windows >= 1
    assert outcome.segments >= 1
    assert bool(outcome.words) == bool(case.options.get("word_timestamps"))
    assert outcome.not_written == []
    if case.is_drawn:
        assert outcome.temperatures == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def test_an_option_without_effect_on_our_side_is_a_difference(pair: Pair) -> None:
    class Forgetful:
        def transcribe(self, audio: np.ndarray, suppress_tokens: object, **options: Any) -> Transcription:
            return pair.ours.transcribe(audio, **options)

    outcome = compare(replace(pair, ours=Forgetful()), PAIRED)  # type: ignore[arg-type]
    assert not outcome.is_equal
    assert any("tokens" in difference for difference in outcome.differences)
    assert "srt" in outcome.differences
    forgetful = Report("max", "cpu", [outcome])
    assert not forgetful.is_equal
    assert ["suppress_tokens" in line and "DIFFERS" in line for line in differing(forgetful)] == [True]
    assert "**0 of 1 cases are equal**" in page(
        forgetful, "", {"cpu": "", "cores": 1, "gpus": [], "system": "", "python": ""}, {}
    )


RESULT: dict[str, Any] = {
    "text": " one two",
    "segments": [
        {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": 1.5,
            "text": " one two",
            "tokens": [50363, 530, 734, 50438],
            "temperature": 0.0,
            "avg_logprob": -0.25,
            "compression_ratio": 0.5,
            "no_speech_prob": 0.01,
            "words": [
                {"word": " one", "start": 0.0, "end": 0.6, "probability": 0.9},
                {"word": " two", "start": 0.6, "end": 1.5, "probability": 0.8},
            ],
        }
    ],
    "language": "en",
}


def compared_with(change: Callable[[dict[str, Any]], Any]) -> Comparison:
    """A result and the same with a change, as openai-whisper's."""
    theirs = copy.deepcopy(RESULT)
    change(theirs)
    outcome = Comparison(SUBTITLED, 1, 1, 2, (0.0,))
    compare_results(outcome, theirs, Transcription.from_dict(RESULT))
    return outcome


def in_segment(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda result: result["segments"][0].update(values)


def in_word(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda result: result["segments"][0]["words"][1].update(values)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda result: result.update(text=" one"), "text"),
        (lambda result: result.update(language="de"), "language"),
        (lambda result: result["segments"].append(result["segments"][0]), "segments"),
        (lambda result: result["segments"][0].pop("words"), "keys"),
        (in_segment(id=1), "id"),
        (in_segment(seek=10), "seek"),
        (in_segment(start=0.02), "start"),
        (in_segment(end=1.52), "end"),
        (in_segment(text=" one too"), "text"),
        (in_segment(tokens=[50363, 530, 1165, 50438]), "tokens"),
        (in_segment(temperature=0.2), "temperature"),
        (in_segment(avg_logprob=-0.2515), "avg_logprob"),
        (in_segment(avg_logprob=float("nan")), "avg_logprob"),
        (in_segment(compression_ratio=0.51), "compression_ratio"),
        (in_segment(no_speech_prob=0.0115), "no_speech_prob"),
        (in_word(word=" too"), "words"),
        (in_word(start=0.64), "start of ' two'"),
        (in_word(end=1.46), "end of ' two'"),
        (in_word(start=0.62), "srt"),
        (in_word(probability=0.803), "probability of ' two'"),
    ],
)
def test_a_difference_is_found(change: Callable[[dict[str, Any]], Any], found: str) -> None:
    outcome = compared_with(change)
    assert not outcome.is_equal
    assert any(found in difference for difference in outcome.differences)


@pytest.mark.parametrize("values", [{}, {"avg_logprob": -0.2506, "no_speech_prob": 0.0104}])
def test_rounding_is_no_difference(values: Mapping[str, Any]) -> None:
    outcome = compared_with(in_segment(**values))
    assert outcome.is_equal
    assert outcome.largest_logprob_difference == pytest.approx(6e-4 if values else 0)


def test_every_option_has_a_case_or_a_reason() -> None:
    in_cases = {name for case in CASES for name in case.options}
    every = {field.name for field in fields(TranscribeOptions)}
    assert in_cases | NOT_COMPARED.keys() == every
    assert not in_cases & NOT_COMPARED.keys()
    for name, (reason, tests) in NOT_COMPARED.items():
        assert reason
        assert any(name in (ROOT / test).read_text(encoding="utf-8") for test in tests), name


def test_there_are_enough_cases_and_none_is_there_twice() -> None:
    assert len(CASES) >= 80
    assert {case.model for case in CASES} == set(MODELS)
    described = [(case.model, case.recording, case.described) for case in (*CASES, *FALLBACK_CASES)]
    assert len(set(described)) == len(described)
    assert sum(len(case.options) - ("temperature" in case.options) >= 2 for case in CASES) >= 40
    for case in (*CASES, *FALLBACK_CASES):
        TranscribeOptions.from_keywords(case.options)
        assert samples(case.recording).dtype == np.float32


def test_the_command_writes_the_page_and_says_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers = [number for number, case in enumerate(CASES, 1) if case.model == NANO and case.recording == "digits"]
    written = tmp_path / "page.md"
    status = parity_options.run(["--model", NANO, "--cases", str(numbers[0]), "--page", str(written)])
    text = written.read_text(encoding="utf-8")
    assert status == 0
    assert "**1 of 1 cases are equal**" in text
    assert "| openai-whisper |" in text
    assert all(f"`{name}`" in text for name in NOT_COMPARED)
    assert NANO in capsys.readouterr().out
    with pytest.raises(OptionError, match="cases: numbers from 1 to"):
        parity_options.run(["--cases", "0"])


def test_the_summary_counts_what_is_equal() -> None:
    outcome = Comparison(SHORT, 2, 3, 0, (0.0, 0.0), ["text"])
    console = output_console()
    with console.capture() as captured:
        console.print(summary(Report("max", "cpu", [outcome, replace(outcome, differences=[])])))
    row = next(line for line in captured.get().splitlines() if NANO in line)
    assert [cell.strip() for cell in row.split("│")[2:7]] == ["2", "1", "4", "6", "0"]


def test_first_tokens_are_drawn_from_the_references_distribution(pair: Pair) -> None:
    first = compare_first_token(pair, "greeting", 1.0, {"max_initial_timestamp": None}, draws=200)
    assert first.is_equal
    assert first.cells > 1
    other = replace(pair, ours=_Warmer(pair))  # type: ignore[arg-type]
    assert not compare_first_token(other, "greeting", 1.0, {"max_initial_timestamp": None}, draws=200).is_equal


class _Warmer:
    """Our side with flatter logits, as if it drew at another temperature."""

    def __init__(self, pair: Pair) -> None:
        self.dims, self._model = pair.ours.dims, pair.ours.model
        self.model = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def start(self, *arguments: Any, **keywords: Any) -> Any:
        state = self._model.start(*arguments, **keywords)
        advance = state.advance
        return SimpleNamespace(advance=lambda *values: advance(*values) / 3)


def test_chi_square() -> None:
    statistic, cells, probability = chi_square_test(np.array([60, 40]), np.array([50.0, 50.0]))
    assert (statistic, cells) == (4.0, 2)
    assert probability == pytest.approx(0.0455003, abs=1e-6)  # tables of the distribution, 1 degree of freedom
    # Three values with 2 expected each are one cell.
    statistic, cells, probability = chi_square_test(np.array([40, 3, 20, 1, 0]), np.array([34.0, 2, 24, 2, 2]))
    assert cells == 3
    assert statistic == pytest.approx(36 / 34 + 16 / 24 + 4 / 6)
    assert probability == pytest.approx(np.exp(-statistic / 2))  # 2 degrees of freedom
    assert chi_square_test(np.array([9, 1]), np.array([10.0, 0.0]))[2] == 0
    assert chi_square_test(np.array([10, 0]), np.array([10.0, 0.0]))[1:] == (1, 1.0)
