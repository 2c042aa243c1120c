"""The figures of the README are those of the committed measurements."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


def measurements(name: str) -> Any:
    return json.loads((ROOT / "docs" / "benchmarks" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tiny() -> dict[tuple[str, str], dict[str, float]]:
    """The median of each row of each program at each precision, in the sizes of tiny."""
    model = next(model for model in measurements("peers.json")["models"] if model["model"] == "random:tiny")
    return {
        (entry["program"], entry["precision"]): {
            name: row["value"]["median"] for name, row in entry["rows"].items() if row["value"]
        }
        for entry in model["programs"]
    }


def test_seconds_for_a_recording(tiny: dict[tuple[str, str], dict[str, float]]) -> None:
    int8, float32 = (tiny["max-whisper", precision]["recording"] for precision in ("int8", "float32"))
    fastest = min(rows["recording"] for (program, _), rows in tiny.items() if program != "max-whisper")
    assert f"Ten minutes of audio take {int8:.1f} s in int8 and {float32:.1f} s in float32" in README
    assert f"The fastest other program takes {fastest:.1f} s." in README


def test_peak_memory(tiny: dict[tuple[str, str], dict[str, float]]) -> None:
    least = {program: min(rows["memory"] for (name, _), rows in tiny.items() if name == program) for program, _ in tiny}
    assert f"Peak memory is {tiny['max-whisper', 'int8']['memory']:.0f} MB in int8." in README
    for program in ("faster-whisper", "openai-whisper", "whisper.cpp"):
        assert any(f"{program}{words}{least[program]:.0f} MB" in README for words in (" needs ", " "))


def test_seconds_to_the_first_text(tiny: dict[tuple[str, str], dict[str, float]]) -> None:
    rows = tiny["max-whisper", "float32"]
    assert f"first text after {rows['start_cold']:.0f} s, and after {rows['start_warm']:.1f} s from the" in README


def test_memory_of_long_recordings() -> None:
    (model,) = measurements("long-recordings.json")["models"]
    short, long = model["long_recordings"][0]["recordings"]
    more = long["peak_memory_mb"] - short["peak_memory_mb"]
    assert (short["audio_seconds"], long["audio_seconds"]) == (600, 36000)
    assert f"ten hours take {more:.0f} MB more than ten minutes" in README


def test_word_error_rates_of_int8() -> None:
    rates = [
        {name: row[name]["errors"] / row[name]["words"] for name in ("float32", "int8")}
        for row in measurements("quality.json")["error_rates"].values()
        if row["float32"]["words"]
    ]
    largest = max(abs(row["int8"] - row["float32"]) for row in rates)
    assert f"by at most {100 * largest:.1f} percentage points" in README


def test_comparisons_with_the_reference() -> None:
    page = (ROOT / "docs" / "parity-options.md").read_text(encoding="utf-8")
    n_equal = (
        next(line for line in page.splitlines() if "cases are equal" in line)
        .split("**")[1]
        .removesuffix(" cases are equal")
    )
    assert f"{n_equal} comparisons with openai-whisper" in README
