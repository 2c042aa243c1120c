"""Checkpoints converted for other programs, and what is made of the measurements; the programs need not be there."""

import ctypes
import importlib.util
import json
import struct
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import whisper
from whisper.tokenizer import get_tokenizer as reference_tokenizer

from benchmarks.peers import cpp_peer, measure, rows, run, summary
from benchmarks.peers.chart import bar_chart
from benchmarks.peers.checkpoints import PeerCheckpoint, endless_weights, peer_checkpoint
from benchmarks.peers.ggml import MAGIC, endless_twin, quantize_q8_0
from benchmarks.peers.page import BEGIN, END, write_page
from benchmarks.peers.peer import NotInstalledError, windows
from benchmarks.peers.tables import peer_tables
from benchmarks.peers.vocabulary import hugging_face_tokenizer
from max_whisper.diagnostics.random_models import random_weights
from max_whisper.diagnostics.recordings import recording
from max_whisper.errors import OptionError
from max_whisper.models.whisper.checkpoint import load_checkpoint
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import get_tokenizer

SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"
DIMS = ModelDimensions(80, 1500, 64, 2, 2, 51865, 448, 64, 2, 1)
TEXTS = [
    "Hello, world! It's the 21st of November, isn't it?",
    "  two spaces,\ttabs and\n\nlines   ",
    "Füße, naïve café; Ελληνικά и русский: 日本語の文字、한국어 🙂👩‍👩‍👧",
    "ﬁ ligatures, ½ 12345678901234567890 x=y+z; don't we'll I'VE",
    "".join(map(chr, range(0x20, 0x250))),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> PeerCheckpoint:
    weights = endless_weights(DIMS)
    return PeerCheckpoint("small", DIMS, tmp_path_factory.mktemp("peers"), True, lambda: weights)


@pytest.fixture(scope="module")
def reference(checkpoint: PeerCheckpoint) -> Any:
    return whisper.load_model(str(checkpoint.file("openai")), device="cpu").float().eval()


def test_transformers_computes_the_same_from_its_folder(checkpoint: PeerCheckpoint, reference: Any) -> None:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = transformers.WhisperForConditionalGeneration.from_pretrained(checkpoint.file("hugging-face")).eval()
    mel = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[50258, 50259, 50359, 50363, 440, 13059]])
    with torch.no_grad():
        expected = reference(mel, tokens)
        logits = model(mel, decoder_input_ids=tokens).logits
    assert expected.std() > 0.5
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert model.generation_config.no_timestamps_token_id == 50363
    assert model.generation_config.lang_to_id["<|en|>"] == 50259


def test_max_whisper_gets_the_same_weights(checkpoint: PeerCheckpoint) -> None:
    converted = load_checkpoint(checkpoint.file("max-whisper"))
    assert converted.dims == DIMS
    assert converted.is_float16
    for name, weight in checkpoint.weights().items():
        np.testing.assert_array_equal(converted.weights[name], weight.astype(np.float32))


def test_an_endless_text_has_no_special_tokens(reference: Any) -> None:
    mel = torch.randn(2, 80, 3000, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([[50258, 50259, 50359, 50363]] * 2)
    with torch.no_grad():
        for _ in range(20):
            logits = reference(mel, tokens)[:, -1]
            assert (logits[:, 50257:] == 0).all()
            assert (logits.topk(10).indices < 50257).all()
            tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=-1)


def test_the_model_is_written_once_and_a_name_is_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    nano = peer_checkpoint("nano")
    assert not nano.is_random
    path = nano.file("max-whisper")
    written = path.stat().st_mtime_ns
    assert peer_checkpoint("nano").file("max-whisper") == path
    assert path.stat().st_mtime_ns == written
    assert peer_checkpoint("random:tiny:1").dims.n_text_layer == 1
    for wrong in ("random:huge", "random:tiny:none"):
        with pytest.raises(OptionError):
            peer_checkpoint(wrong)


@pytest.mark.parametrize("multilingual", [True, False])
def test_the_tokenizer_is_that_of_openai(multilingual: bool, tmp_path: Path) -> None:
    import tokenizers

    ours = get_tokenizer(multilingual, language="en", task="transcribe")
    hugging_face_tokenizer(ours).save(str(tmp_path / "tokenizer.json"))
    converted = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    reference = reference_tokenizer(multilingual, language="en", task="transcribe")
    assert converted.get_vocab_size() == reference.encoding.n_vocab
    for name, token in reference.special_tokens.items():
        assert converted.token_to_id(name) == token
    for text in TEXTS:
        expected = reference.encode(text)
        assert converted.encode(text, add_special_tokens=False).ids == expected
        assert converted.decode(expected) == text
    drawn = np.random.default_rng(0).integers(0, reference.eot, 300).tolist()
    assert converted.decode(drawn) == reference.decode(drawn)


def read_ggml(path: Path) -> tuple[list[int], np.ndarray, list[bytes], dict[str, tuple[int, np.ndarray]]]:
    """Header, filters, tokens and, by name, the type and values of each tensor: the layout that the module tells."""
    data, place = path.read_bytes(), 0

    def take(form: str) -> tuple[Any, ...]:
        nonlocal place
        values = struct.unpack_from(f"<{form}", data, place)
        place += struct.calcsize(f"<{form}")
        return values

    header = list(take("12i"))
    shape = take("2i")
    filters = np.array(take(f"{shape[0] * shape[1]}f"), np.float32).reshape(shape)
    tokens = [take(f"{take('i')[0]}s")[0] for _ in range(take("i")[0])]
    tensors = {}
    while place < len(data):
        n_dims, length, kind = take("3i")
        sizes = take(f"{n_dims}i")[::-1]
        name = take(f"{length}s")[0].decode()
        count = int(np.prod(sizes))
        if kind == 8:
            blocks = [take("e32b") for _ in range(count // 32)]
            values = np.array([[block[0] * step for step in block[1:]] for block in blocks])
        else:
            values = np.array(take(f"{count}{'f' if kind == 0 else 'e'}"))
        tensors[name] = (kind, values.reshape(sizes))
    return header, filters, tokens, tensors


@pytest.mark.parametrize(("kind", "file_type"), [("ggml-f16", 1), ("ggml-q8_0", 2007)])
def test_ggml_files_read_back(checkpoint: PeerCheckpoint, kind: str, file_type: int) -> None:
    header, filters, tokens, tensors = read_ggml(checkpoint.file(kind))
    assert header == [MAGIC, 51865, 1500, 64, 2, 2, 448, 64, 2, 1, 80, file_type]
    np.testing.assert_array_equal(filters, whisper.audio.mel_filters("cpu", 80).numpy())
    encoding = reference_tokenizer(True).encoding
    assert len(tokens) == 50257
    assert all(tokens[token] == encoding.decode_single_token_bytes(token) for token in range(0, 50256, 7))
    weights = checkpoint.weights()
    assert set(tensors) == set(weights)
    for name, (stored, values) in tensors.items():
        weight = weights[name].astype(np.float32)
        if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
            weight = weight[:, None]
        assert values.shape == weight.shape
        is_added = weights[name].ndim < 2 or name.endswith("positional_embedding")
        if is_added:
            assert stored == 0
        elif kind == "ggml-f16" or weight.ndim == 3:
            assert stored == 1
        else:
            assert stored == 8
            largest = np.abs(weight.reshape(-1, 32)).max(axis=1)
            error = np.abs(values - weight).reshape(-1, 32).max(axis=1)
            assert (error <= largest / 127 * 0.56).all()  # half a step, and the rounding of the scale
            continue
        np.testing.assert_array_equal(values, weight)


def test_a_trained_model_has_a_twin_that_never_ends_a_text(checkpoint: PeerCheckpoint, tmp_path: Path) -> None:
    assert endless_twin(str(checkpoint.file("ggml-f16"))) == str(checkpoint.file("ggml-f16"))
    weights = {name: tensor.numpy() for name, tensor in random_weights(DIMS).items()}
    trained = PeerCheckpoint("trained", DIMS, tmp_path, False, lambda: weights)
    path = trained.file("ggml-f16")
    *_, tensors = read_ggml(path)
    *_, twins = read_ggml(Path(endless_twin(str(path))))
    name = "decoder.token_embedding.weight"
    embedding, twin = tensors.pop(name)[1], twins.pop(name)[1]
    assert (embedding[50257:] != 0).any(axis=1).all()
    assert (twin[50257:] == 0).all()
    np.testing.assert_array_equal(twin[:50257], embedding[:50257])
    for name, (_, values) in tensors.items():
        np.testing.assert_array_equal(twins[name][1], values)


def test_q8_0_blocks_are_those_of_ggml() -> None:
    """Number by number as ggml's quantize_row_q8_0_ref: float32 throughout, halves away from zero."""
    generator = np.random.default_rng(3)
    rows_ = generator.normal(size=(6, 64)).astype(np.float32)
    rows_[1, :32] = 0
    rows_[2, :3] = [127, 0.5, -2.5]  # halves of the scale 1
    rows_[2, 3:32] = 0
    expected = b""
    for block in rows_.reshape(-1, 32):
        scale = np.float32(max(abs(value) for value in block)) / np.float32(127)
        inverse = np.float32(1) / scale if scale else np.float32(0)
        steps = []
        for value in block:
            step = float(np.float32(value * inverse))
            steps.append(int(abs(step) + 0.5) * (1 if step >= 0 else -1))
        expected += struct.pack("<e32b", float(scale), *steps)
    assert quantize_q8_0(rows_) == expected


@pytest.mark.skipif(importlib.util.find_spec("_pywhispercpp") is None, reason="pywhispercpp is not installed")
def test_q8_0_blocks_are_those_of_the_library() -> None:
    library = cpp_peer._load_library()
    base = ctypes.CDLL(str(Path(library._name).with_name("libggml-base.so")))
    matrix = np.random.default_rng(4).normal(size=(50, 384)).astype(np.float32)
    packed = np.zeros(50 * 384 // 32 * 34, np.uint8)
    base.quantize_row_q8_0_ref(
        matrix.ctypes.data_as(ctypes.c_void_p), packed.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(matrix.size)
    )
    assert quantize_q8_0(matrix) == packed.tobytes()


@pytest.mark.skipif(importlib.util.find_spec("_pywhispercpp") is None, reason="pywhispercpp is not installed")
@pytest.mark.parametrize("precision", ["f16", "q8_0"])
def test_whisper_cpp_computes_the_same(precision: str, checkpoint: PeerCheckpoint, reference: Any) -> None:
    """As far as its precision goes; a build that loses AMX's tile configuration crashes here."""
    work = measure.work_of(checkpoint, measure.Settings(1, 1, 1, 30, []))
    peer = cpp_peer.CppPeer(str(checkpoint.file(f"ggml-{precision}")), precision, work)
    window = np.random.default_rng(5).normal(scale=0.1, size=480_000).astype(np.float32)
    peer._mel(window)
    peer._encode()
    with torch.no_grad():
        features = reference.encoder(whisper.log_mel_spectrogram(window, 80)[None])
        expected = reference.decoder(torch.tensor([work.long_prompt]), features)[0, -1].numpy()
    logits = peer._decode(work.long_prompt, 0)
    assert np.abs(logits - expected).max() < 0.1 * expected.std()


def test_a_package_made_for_any_cpu_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("_pywhispercpp", tmp_path / "_pywhispercpp.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(NotInstalledError, match="--no-binary pywhispercpp"):
        cpp_peer._load_library()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match="not installed"):
        cpp_peer._load_library()


def test_programs_are_chosen_by_name_and_precision() -> None:
    chosen = rows.choose_programs("whisper.cpp:q8_0, faster-whisper", "float32,int8")
    assert [str(program) for program in chosen] == [
        "whisper.cpp q8_0", "faster-whisper float32", "faster-whisper int8", "max-whisper float32", "max-whisper int8",
    ]  # fmt: skip
    with pytest.raises(OptionError, match="no peer is named 'kaldi'"):
        rows.choose_programs("kaldi", "")
    for program in [*rows.PEERS, *chosen]:
        assert {*program.peer.how, *program.peer.missing} <= set(rows.ROWS)


def test_the_recording_is_made_of_whole_samples() -> None:
    samples = [recording(SAMPLES / "greeting.ogg"), recording(SAMPLES / "weather.flac")]
    audio, text = measure.long_recording(samples, 60)
    assert audio.shape == (60 * 16_000,)
    assert audio.dtype == np.float32
    assert text is not None
    first = samples[0].transcript
    assert first is not None
    assert text.startswith(first)
    assert text.count(first) >= 2
    pieces = list(windows(audio[: 65 * 8000]))
    assert [len(piece) for piece in pieces] == [480_000, 40_000]


def test_wrong_options(tmp_path: Path) -> None:
    for arguments in (["--rows", "speed"], ["--rounds", "0"], ["--threads", "100000"]):
        with pytest.raises(OptionError):
            run.run(arguments)


def test_a_run_from_end_to_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the one peer that is always there; a precision that max-whisper does not have is left out."""
    monkeypatch.setenv("MAX_WHISPER_CACHE", str(tmp_path))
    path, page = tmp_path / "peers.json", tmp_path / "docs" / "benchmarks.md"
    page.parent.mkdir()
    arguments = ["--model", "random:tiny:1", "--peers", "openai-whisper", "--compute-types", "int3", "--threads", "1"]
    arguments += ["--rounds", "2", "--minutes", "1", "--rows", "log_mel,token,recording,batched,memory,start_cold"]
    arguments += ["--json", str(path), "--page", str(page), str(SAMPLES / "greeting.ogg")]
    assert run.run(arguments) == 0
    document = json.loads(path.read_text())
    assert document["command"].startswith("python -m benchmarks.peers --model random:tiny:1 ")
    (model,) = document["models"]
    measured, left_out = model["programs"]
    assert left_out["program"] == "max-whisper"
    assert "int3" in left_out["skipped"]
    assert measured["error"] is None
    assert measured["tokens"] == {"recording": 2 * measure.RANDOM_TOKENS}, "one minute is two windows"
    assert len(measured["rows"]["token"]["value"]["runs"]) == 2
    assert 0.1 < measured["rows"]["log_mel"]["value"]["median"] < 10_000
    assert measured["rows"]["memory"]["value"]["median"] > 100
    assert measured["rows"]["batched"] == {
        "value": None, "how": None, "reason": "openai-whisper transcribes one window at a time",
    }  # fmt: skip
    assert measured["rows"]["start_cold"]["reason"] == measure.COMPILES_NOTHING
    assert "openai-whisper float32" in capfd.readouterr().out
    assert "openai-whisper float32" in page.read_text()
    assert run.run(["--read", str(path)]) == 0


def spread_of(value: float) -> dict[str, Any]:
    spread = dict.fromkeys(("median", "min", "q1", "q3", "max"), value)
    return {"value": {**spread, "runs": [value, value]}, "how": None, "reason": None}


@pytest.fixture
def document() -> dict[str, Any]:
    def entry(program: str, precision: str, encoder: float, token: float | None) -> dict[str, Any]:
        missing = {"value": None, "how": None, "reason": "it has no tokens"}
        values = {"encoder": spread_of(encoder), "token": missing if token is None else spread_of(token)}
        values["encoder"]["how"] = f"as {program} does it"
        return {
            "program": program, "precision": precision, "about": "", "skipped": None, "error": None,
            "word_error_rate": 0.125, "tokens": {}, "rows": values,
        }  # fmt: skip

    left_out = {**entry("whisper.cpp", "f16", 0, 0), "rows": {}, "skipped": "it is not installed"}
    programs = [
        entry("openai-whisper", "float32", 200.0, 10.0),
        entry("faster-whisper", "int8", 100.0, None),
        left_out,
        entry("max-whisper", "float32", 80.0, 4.0),
        entry("max-whisper", "int8", 25.0, 2.0),
    ]
    return {
        "created": "2026-01-31T10:00:00+00:00",
        "command": "python -m benchmarks.peers",
        "machine": {"cpu": "A <CPU>", "cores": 4, "memory_gb": 8.0, "system": "Linux"},
        "versions": {"max": "26.7", "commit": None},
        "settings": {"threads": 2, "rounds": 2, "batch_size": 8, "seconds": 600},
        "models": [{"model": "random:tiny", "dims": {}, "programs": programs}],
    }


def test_ratios_are_to_the_fastest_peer(document: dict[str, Any]) -> None:
    (model,) = document["models"]
    float32, int8 = summary.ours(model)
    assert summary.ratio(model, float32, "encoder") == 1.25
    assert summary.ratio(model, int8, "encoder") == 4
    assert summary.float32_ratio(model, "encoder") == 2.5
    assert summary.ratio(model, int8, "token") == 5, "a peer without a value is none"
    assert summary.ratio(model, int8, "recording") is None
    assert [row.name for row in summary.rows_of(model)] == ["encoder", "token"]


def test_the_page_keeps_what_is_around_its_marks(document: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"# Title\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    write_page(page, document)
    text = page.read_text()
    assert text.startswith("# Title\n\nBefore.\n\n")
    assert text.endswith("\n\nAfter.\n")
    assert "old" not in text
    assert "| encoder, 30 s | faster-whisper int8, 100 ms | 1.25 x | 4.00 x | 2.50 x |" in text
    assert "| max-whisper int8 | 25.0 ± 0.0 ms | 2.00 ± 0.00 ms |" in text
    assert "- whisper.cpp f16 is left out: it is not installed" in text
    assert "- faster-whisper, a token, greedy: it has no tokens" in text
    assert "`python -m benchmarks.peers`" in text
    assert (tmp_path / "benchmarks" / "peers-random-tiny.svg").is_file()
    write_page(page, document)
    assert page.read_text() == text

    page.write_text("# No marks\n")
    with pytest.raises(ValueError, match="peers: begin"):
        write_page(page, document)
    page.unlink()
    write_page(page, document)
    assert page.read_text().startswith("# Benchmarks\n")


def test_the_chart_is_a_picture_with_a_bar_for_each_value(document: dict[str, Any]) -> None:
    (model,) = document["models"]
    root = xml.etree.ElementTree.fromstring(bar_chart(document, model))
    space = "{http://www.w3.org/2000/svg}"
    bars = list(root.iter(f"{space}rect"))
    assert len(bars) == 4 + 3
    ours = [float(bar.get("width", "0")) for bar in bars if bar.get("class") == "ours"]
    assert sorted(ours) == [25, 40, 80, 80]
    texts = [text.text for text in root.iter(f"{space}text")]
    assert "random:tiny: A <CPU>, 2 threads; shorter is better" in texts
    assert "25.0 ms" in texts


def test_the_tables_on_the_screen(document: dict[str, Any]) -> None:
    everything, ratios = peer_tables(document)
    assert [column.header for column in everything.columns][1:] == [
        "openai-whisper float32", "faster-whisper int8", "max-whisper float32", "max-whisper int8",
    ]  # fmt: skip
    assert list(ratios.columns[-1].cells) == ["2.50 x", "2.50 x"]
