"""The demo and the benchmark from end to end, with the bundled model and every backend, in a pipe."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import run
from max_whisper.diagnostics import backends, demo

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
BACKENDS = ("torch", "hybrid", "max")
TIMES = ("encoder_ms", "prompt_ms", "token_ms", "seconds")


def test_the_demo_prints_its_table_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "demo.svg"
    files = [str(SAMPLES / name) for name in ("greeting.ogg", "weather.flac")]
    assert demo.run([*files, "--device", "cpu", "--save-svg", str(picture)]) == 0
    captured = capfd.readouterr()
    lines = captured.out.splitlines()
    assert lines[0].strip().startswith("2 recordings")
    rows = [line for line in lines if re.match(r"│ (torch|hybrid|max) cpu ", line)]
    assert len(rows) == len(BACKENDS)
    assert "baseline" in rows[0]
    assert "the reference" in rows[0]
    assert all("equal to the reference" in row and " x " in row for row in rows[1:])
    assert "\x1b" not in captured.out
    assert captured.err == ""
    svg = picture.read_text()
    assert "hybrid" in svg
    assert "https://cdn" not in svg


def test_a_backend_that_fails_is_reported_and_the_others_go_on(capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(SAMPLES / "greeting.ogg")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "choose_backends", lambda names, device: _with_a_wrong_one())
        assert demo.run(files) == 1
    captured = capfd.readouterr()
    assert re.search(r"torch cpu .* the reference", captured.out)
    assert re.search(r"max quantum .* failed", captured.out)
    (line,) = captured.err.splitlines()
    assert line.startswith("max-whisper: error: max quantum: ")


def test_a_gpu_that_a_backend_cannot_use_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(backends, "has_gpu", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    arguments = [str(SAMPLES / "greeting.ogg"), "--backends", "torch"]
    assert demo.run(arguments) == 0
    captured = capfd.readouterr()
    assert "torch gpu" not in captured.out
    (line,) = captured.err.splitlines()
    assert line.startswith("max-whisper: left out: torch gpu: ")
    assert demo.run([*arguments, "--device", "gpu"]) == 1

    path = tmp_path / "benchmark.json"
    capfd.readouterr()
    assert run.run([*arguments, "--model", "nano", "--runs", "1", "--json", str(path)]) == 0
    assert [row["device"] for row in json.loads(path.read_text())["models"][0]["backends"]] == ["cpu"]
    assert "left out: torch gpu: " in capfd.readouterr().err


def _with_a_wrong_one() -> list[run.Backend]:
    return [run.Backend("torch", "cpu"), run.Backend("max", "quantum")]


def test_the_benchmark_writes_its_document(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "benchmark.json"
    arguments = [str(SAMPLES / "greeting.ogg"), "--model", "nano", "--device", "cpu", "--runs", "2"]
    assert run.run([*arguments, "--json", str(path)]) == 0
    document = json.loads(path.read_text())
    assert document["schema_version"] == 1
    assert document["command"].startswith("python -m benchmarks.run ")
    assert document["machine"]["cores"] >= 1
    assert document["versions"]["max"]
    (model,) = document["models"]
    assert model["model"] == "nano"
    assert [row["backend"] for row in model["backends"]] == list(BACKENDS)
    for row in model["backends"]:
        assert row["error"] is None
        assert row["compiled"] in (("nothing",) if row["backend"] == "torch" else ("now", "cached"))
        assert row["load_seconds"] >= row["compile_seconds"] >= 0
        for name in TIMES:
            times = row[name]
            assert len(times["runs"]) == 2
            assert 0 < times["min"] <= times["q1"] <= times["median"] <= times["q3"] <= times["max"]
        assert row["peak_memory_mb"] > 50
        assert row["equals_reference"] is True
        (recording,) = row["recordings"]
        assert recording["name"] == "greeting"
        assert recording["real_time_factor"] == pytest.approx(row["real_time_factor"])
        assert recording["word_error_rate"] == row["word_error_rate"]
    assert "hybrid cpu" in capfd.readouterr().out


def test_a_place_that_cannot_be_written_is_found_out_first(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(run.MaxWhisperError, match="--json"):
        run.run(["--json", str(file / "benchmark.json")])
