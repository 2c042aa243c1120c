"""One case: a recording, options and a way to transcribe it, all drawn from (seed, number), and what must hold."""

import contextlib
import io
import itertools
import json
import math
import os
import subprocess
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from max_whisper import Transcription
from max_whisper.audio import SAMPLE_RATE
from max_whisper.errors import MaxWhisperError, OptionError
from max_whisper.results.formats import FORMATS, write
from max_whisper.transcriber import Transcriber, load_model
from tests.fuzzing.drawing import subtitle_keywords, transcribe_keywords, wrong_keywords
from tests.fuzzing.sources import Source, drawn_source

Generator = np.random.Generator
COMMAND_SHARE = 0.004  # of the cases that go through a process of their own
READ_OTHERWISE = ("audio_track", "channel", "input_format")  # with which the samples are not those of PyAV alone
MODES = ("transcribe", "transcribe", "stream", "half a stream", "many")


class FaultError(Exception):
    """Something that must not be; the message is for whoever mends it."""


@dataclass
class Case:
    """What was drawn, and how it ended."""

    seed: int
    number: int
    described: str = ""
    outcome: str = ""  # `transcribed`, `empty` or the class of an error of the package
    faults: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)  # of its files

    @property
    def again(self) -> str:
        """The command that runs it again."""
        return f"python -m tests.fuzzing --seed {self.seed} --case {self.number}"


def run_case(model: Transcriber, seed: int, number: int, folder: Path) -> Case:
    """Draw a case, run it and judge it. Files are written into the folder, which may hold those of the case before."""
    rng = np.random.default_rng([seed, number])
    case = Case(seed, number)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if rng.random() < COMMAND_SHARE:
                _run_command(case, rng, folder)
            else:
                _run_library(case, rng, model, folder)
        except FaultError as fault:
            case.faults.append(str(fault))
        except MaxWhisperError as error:
            case.outcome = type(error).__name__
            if len(str(error).splitlines()) != 1:
                case.faults.append(f"an error of several lines or none: {str(error)!r}")
        except Exception:
            case.faults.append(traceback.format_exc())
    for warning in caught:
        if not warning.category.__module__.startswith("max_whisper"):
            case.faults.append(f"{warning.category.__name__} in {warning.filename}:{warning.lineno}: {warning.message}")
    return case


def load_fuzzed_model() -> Transcriber:
    """The model of all cases."""
    return load_model("nano", device="cpu")


def usual_seconds(model: Transcriber) -> float:
    """What the longest cases usually take: minutes of noise at every temperature, with as many texts as are drawn."""
    noise = np.random.default_rng(0).normal(0, 0.3, 5 * SAMPLE_RATE).astype(np.float32)
    begin = time.perf_counter()
    model.transcribe(noise, temperature=1.0, best_of=8, no_speech_threshold=None, suppress_tokens=[50257])
    return 6 * (time.perf_counter() - begin)


def _run_library(case: Case, rng: Generator, model: Transcriber, folder: Path) -> None:
    options = wrong_keywords(rng) if rng.random() < 0.1 else transcribe_keywords(rng)
    mode = MODES[rng.integers(len(MODES))]
    sources = [drawn_source(rng, folder) for _ in range(rng.integers(1, 4) if mode == "many" else 1)]
    rate = sources[0].sample_rate
    case.contents = [source.content for source in sources if source.content is not None]
    case.described = f"{mode}({'; '.join(source.described for source in sources)}, {options!r})"
    subtitles = subtitle_keywords(rng)
    keywords: dict[str, Any] = options if rate is None else {**options, "sample_rate": rate}
    if mode == "many":
        _ = options.setdefault("batch_size", int(rng.integers(1, 5)))
        outcomes = list(model.transcribe_many([source.audio() for source in sources], **keywords))
        _hold(len(outcomes) == len(sources), f"{len(outcomes)} outcomes of {len(sources)} recordings")
        for outcome, source in zip(outcomes, sources, strict=True):
            if isinstance(outcome, MaxWhisperError):
                case.outcome = type(outcome).__name__
                continue
            _judge(case, outcome, source, model, options, subtitles)
        return
    (source,) = sources
    if mode == "transcribe":
        _judge(case, model.transcribe(source.audio(), **keywords), source, model, options, subtitles)
        return
    stream = model.stream(source.audio(), **keywords)
    if mode == "half a stream":
        list(itertools.islice(stream, int(rng.integers(0, 3))))
        case.outcome = "left half-read"
        return
    segments = list(stream)
    transcription = stream.transcription()
    _hold(tuple(segments) == transcription.segments, "a stream's segments are not those of its transcription")
    _judge(case, transcription, source, model, options, subtitles)


def _judge(
    case: Case,
    transcription: Transcription,
    source: Source,
    model: Transcriber,
    options: dict[str, Any],
    subtitles: dict[str, Any],
) -> None:
    """What holds for any transcription, and that there is text where there is speech."""
    case.outcome = "transcribed" if transcription.text.strip() else "empty"
    for segment in transcription.segments:
        numbers = (segment.start, segment.end, segment.avg_logprob, segment.no_speech_prob, segment.compression_ratio)
        _hold(all(map(math.isfinite, numbers)), f"a segment with {numbers}")
        _hold(0 <= segment.start <= segment.end, f"a segment from {segment.start} to {segment.end}")
        for word in segment.words or ():
            _hold(0 <= word.start <= word.end < math.inf, f"a word from {word.start} to {word.end}")
    _check_files(transcription, subtitles)
    if case.outcome == "empty" and not any(options.get(name) for name in READ_OTHERWISE):
        heard = _text_of_plain_samples(model, source, options)
        _hold(
            not heard.strip(), f"no text, where {'the array' if source.content is None else 'PyAV alone'} has {heard!r}"
        )


def _check_files(transcription: Transcription, subtitles: dict[str, Any]) -> None:
    """Every format can be written, and has the text; JSON is JSON."""
    for format in FORMATS:
        file = io.StringIO()
        try:
            write(transcription, file, format, **subtitles)
        except OptionError:
            continue  # there are no words for these options
        if format == "json":
            json.loads(file.getvalue(), parse_constant=_no_constant)
        if transcription.text.strip():
            nothing = io.StringIO()
            write(replace(transcription, text="", segments=()), nothing, format)
            _hold(file.getvalue() != nothing.getvalue(), f"an empty {format} for a text")


def _no_constant(name: str) -> None:
    raise FaultError(f"{name} in JSON")


def _text_of_plain_samples(model: Transcriber, source: Source, options: dict[str, Any]) -> str:
    """The text with the same options, of the samples that PyAV gives by itself."""
    samples = plain_samples(source.content) if source.content is not None else None
    if samples is None or len(samples) < 400:
        return ""
    with contextlib.suppress(MaxWhisperError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single = {name: value for name, value in options.items() if name != "batch_size"}
        return model.transcribe(samples, **single).text
    return ""


def plain_samples(content: bytes) -> np.ndarray | None:
    """The sound of a file as PyAV decodes it without us, float32 [n] at 16 kHz; None where it does not."""
    pieces = []
    try:
        with av.open(io.BytesIO(content), metadata_errors="ignore") as container:
            resampler = av.AudioResampler("s16", "mono", 16_000)
            for frame in container.decode(audio=0):
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    except (av.error.FFmpegError, IndexError, ValueError, OSError):
        pass
    return np.concatenate(pieces).astype(np.float32) / 32768 if pieces else None


def _run_command(case: Case, rng: Generator, folder: Path) -> None:
    """The command line in a process of its own."""
    sources = [drawn_source(rng, folder) for _ in range(4)]
    source = next((source for source in sources if source.path is not None), None)
    output = folder / "output"
    format = (*FORMATS, "all")[rng.integers(len(FORMATS) + 1)]
    files = [str(source.path) if source else "no such file"]
    if source and source.content is not None:
        source.path.write_bytes(source.content)  # type: ignore[union-attr]
        case.contents = [source.content]
    arguments = [
        f"--{name}={_as_text(value)}" for name, value in transcribe_keywords(rng).items() if name != "vad_parameters"
    ]
    command = [sys.executable, "-m", "max_whisper", "transcribe", *files, "--model", "nano", "--output-format", format]
    command += ["--output-dir", str(output), *arguments]
    case.described = " ".join(command[1:]) + (f" ({source.described})" if source else "")
    for old in output.glob("*"):
        old.unlink()
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, errors="replace", check=False)
    case.outcome = f"status {done.returncode}"
    _hold(done.returncode in (0, 1, 2), f"status {done.returncode}: {done.stderr}")
    _hold("Traceback" not in done.stderr and "unexpected" not in done.stderr, done.stderr)
    for line in done.stderr.splitlines():
        _hold(line.startswith(("max-whisper", "usage:", " ")), f"a foreign line: {line!r}")
    if done.returncode == 0:
        written = [path for path in output.glob("*") if path.stat().st_size]
        said = done.stdout.replace("Detected language: English", "").strip()
        _hold(bool(written) or not said, "status 0, text, and no file with it")
    else:
        _hold(bool(done.stderr.strip()), f"status {done.returncode} without a line")


def _as_text(value: Any) -> str:
    if isinstance(value, (list, tuple, np.ndarray)):
        return ",".join(map(str, value))
    return str(value).replace("\0", "")


def _hold(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise FaultError(otherwise)
