"""What compute types change beside float32: word error rates of nano, and the numbers of random weights.

    python -m benchmarks.quality --fsdd ARCHIVE --page docs/benchmarks.md --json docs/benchmarks/quality.json

ARCHIVE is free-spoken-digit-dataset.tar.xz; the held-out sets are those of `training.evaluate`, which needs the
programs of training/apt-packages.txt. Without it there are no word error rates.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from max_whisper.audio import N_SAMPLES, load_audio
from max_whisper.audio.log_mel import log_mel_spectrogram
from max_whisper.diagnostics.machine import machine, versions
from max_whisper.diagnostics.recordings import recordings
from max_whisper.diagnostics.word_errors import total, word_errors
from max_whisper.transcriber import load_model

from .page_part import markdown_table, write_part
from .peers.checkpoints import PeerCheckpoint, peer_checkpoint

COMPUTE_TYPES = ("bfloat16", "int8")
CTRANSLATE2 = "CTranslate2 int8"
FORCED = 200  # tokens of text that every model is given


def numbers(model: str) -> dict[str, Any]:
    """Features and logits of a random model in each compute type, and of CTranslate2's int8, against float32.

    A token counts as decided where the two greatest float32 logits lie further apart than CTranslate2's int8 logits lie
    from float32's (root mean square).
    """
    checkpoint = peer_checkpoint(model)
    tokens = forced_tokens(checkpoint)
    audio = np.concatenate([load_audio(sample.path) for sample in recordings([])])[:N_SAMPLES]
    mel = log_mel_spectrogram(audio, checkpoint.dims.n_mels)[None]
    path = str(checkpoint.file("max-whisper"))
    features, logits = {}, {}
    for compute_type in ("float32", *COMPUTE_TYPES):
        features[compute_type], logits[compute_type] = ours(path, compute_type, mel, tokens)
    logits[CTRANSLATE2] = ctranslate2_logits(str(checkpoint.file("ctranslate2-int8")), mel[0], tokens)
    return {"model": model, **compare(features, logits)}


def compare(features: Mapping[str, np.ndarray], logits: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Features [n_audio_ctx, state] and logits [tokens, n_vocab] by compute type, with float32 among them."""
    exact, expected = features["float32"], logits["float32"]
    noise = float(np.sqrt(np.square(logits[CTRANSLATE2] - expected).mean()))
    greatest = np.partition(expected, -2, axis=-1)[:, -2:]
    decided = greatest[:, 1] - greatest[:, 0] > noise
    entries = {}
    for name, values in logits.items():
        if name == "float32":
            continue
        same = values.argmax(-1) == expected.argmax(-1)
        entry: dict[str, Any] = {
            "logits_rms": float(np.sqrt(np.square(values - expected).mean())),
            "same_token": float(same.mean()),
            "same_token_where_decided": float(same[decided].mean()),
        }
        if name in features:
            cosines = cosine(features[name], exact)
            entry |= {"cosine": float(cosine(features[name].ravel(), exact.ravel())), "least": float(cosines.min())}
        entries[name] = entry
    return {"tokens": len(expected), "decided": int(decided.sum()), "noise": noise, "compute_types": entries}


def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of the last axis."""
    products = (left.astype(np.float64) * right).sum(-1)
    return np.asarray(products / np.linalg.norm(left, axis=-1) / np.linalg.norm(right, axis=-1))


def forced_tokens(checkpoint: PeerCheckpoint) -> list[int]:
    """A prompt without timestamps and any text after it."""
    tokenizer = checkpoint.tokenizer
    text = np.random.default_rng(1).integers(0, tokenizer.eot, FORCED).tolist()
    return [*tokenizer.sot_sequence_including_notimestamps, *text]


def ours(path: str, compute_type: str, mel: np.ndarray, tokens: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Features [n_audio_ctx, state]; logits [FORCED + 1, n_vocab] after the prompt and after each token of the text."""
    model: Any = load_model(path, backend="max", device="cpu", compute_type=compute_type).model
    features = model.encode(mel)
    state = model.start(features)
    prompt, text = tokens[:-FORCED], tokens[-FORCED:]
    rows = [state.advance(np.array([prompt], dtype=np.int64), [len(prompt) - 1])[0].copy()]
    rows += [state.advance(np.array([[token]], dtype=np.int64), [0])[0].copy() for token in text]
    return features.features.to_numpy()[0].copy(), np.concatenate(rows)


def ctranslate2_logits(path: str, mel: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """As the logits of `ours`."""
    import ctranslate2

    model = ctranslate2.models.Whisper(path, device="cpu", compute_type="int8")
    features = model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None])))
    (result,) = model.generate(
        features,
        [list(tokens)],
        beam_size=1,
        max_length=2 * (FORCED + 1),  # a text ends at half of it
        suppress_blank=False,
        suppress_tokens=[],
        return_logits_vocab=True,
    )
    # What follows the prompt is forced, step by step, and each step gives its logits.
    return np.stack([np.asarray(logits) for logits in result.logits[0][: FORCED + 1]])


def error_rates(archive: Path, count: int) -> dict[str, dict[str, Any]]:
    """Word errors of nano by held-out set and compute type, at temperature 0; words too where nothing is said."""
    from training.held_out import held_out_sets

    sets = {name: build(count) for name, build in held_out_sets(archive).items()}
    rates: dict[str, dict[str, Any]] = {name: {"recordings": len(built)} for name, built in sets.items()}
    for compute_type in ("float32", *COMPUTE_TYPES):
        model = load_model("nano", backend="max", device="cpu", compute_type=compute_type)
        for name, built in sets.items():
            counts = total([word_errors(one.text, model.transcribe(one.audio, temperature=0.0).text) for one in built])
            rates[name][compute_type] = {"errors": counts.errors, "words": counts.words}
            print(f"{compute_type:10} {name:32} {counts.errors} of {counts.words} words", file=sys.stderr)
    return rates


def page(document: Mapping[str, Any]) -> str:
    """The document as Markdown."""
    compute_types = ("float32", *COMPUTE_TYPES)
    parts = [
        "## Quality",
        f"{document['machine']['cpu']}; {document['versions']['commit']}. Command: `{document['command']}`.",
    ]
    if document["error_rates"]:
        rows = [
            [name, str(entry["recordings"]), *(_rate(entry[kind]) for kind in compute_types)]
            for name, entry in document["error_rates"].items()
        ]
        parts += [
            "Word error rates of nano on recordings that training never saw (docs/nano.md), temperature 0:",
            markdown_table(["", "recordings", *compute_types], rows),
        ]
    rows = []
    for entry in document["numbers"]:
        for name, values in entry["compute_types"].items():
            cosines = [f"{values[key]:.5f}" if key in values else "" for key in ("cosine", "least")]
            agreement = [f"{values[key]:.1%}" for key in ("same_token_where_decided", "same_token")]
            rows.append([f"{entry['model']}, {name}", *cosines, f"{values['logits_rms']:.3f}", *agreement])
    decided = ", ".join(f"{e['decided']} of {e['tokens']} for {e['model']}" for e in document["numbers"])
    parts += [
        "Random weights against float32: the cosine of a window's features as a whole and the least of a position, the "
        f"root mean square by which logits differ, and how often the most probable token after each of {FORCED} given "
        "ones is the same. A token is decided where its two greatest logits lie further apart than CTranslate2's int8 "
        f"logits lie from float32's ({decided}).",
        markdown_table(["", "cosine", "least", "logits differ", "same token, decided", "same token, all"], rows),
    ]
    return "\n\n".join(parts)


def _rate(entry: Mapping[str, int]) -> str:
    errors, words = entry["errors"], entry["words"]
    return f"{errors / words:.1%}" if words else f"{errors} words"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fsdd", type=Path, help="free-spoken-digit-dataset.tar.xz")
    parser.add_argument("--count", type=int, default=100, help="recordings in a set (a tenth of it long ones)")
    parser.add_argument("--models", default="random:tiny,random:base,random:small", help="random:NAME, with commas")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--page", type=Path, help="write the tables into this page of Markdown")
    options = parser.parse_args()
    document = {
        "command": shlex.join(["python", "-m", "benchmarks.quality", *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
        "error_rates": error_rates(options.fsdd, options.count) if options.fsdd else {},
        "numbers": [numbers(model) for model in filter(None, options.models.split(","))],
    }
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if options.page:
        write_part(options.page, "quality", page(document))
    print(page(document))


if __name__ == "__main__":
    main()
