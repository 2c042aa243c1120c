"""Windows follow the rules by which `transcribe` decodes and seeks."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from training.shards import Corpus, Utterance, read_shard, write_shard
from training.texts import training_text
from training.vocabulary import encode, language_token, timestamp, tokenizer
from training.windows import FULL_WINDOW, PROMPT_LENGTH, Window, WindowKind, WindowSampler, collate, disturb


def _utterances(voice: str, count: int, seed: int) -> list[Utterance]:
    rng, noise = random.Random(seed), np.random.default_rng(seed)
    made = []
    for _ in range(count):
        text = training_text(rng)
        frames = 30 + 25 * len(text.split())
        made.append(Utterance(text, voice, noise.uniform(-6, 0, (80, frames)).astype(np.float16)))
    return made


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    for number, voice in enumerate(["human digits", "human prompts", "espeak en-us+m3", "flite-slt"]):
        write_shard(folder / f"part-{number}.npz", _utterances(voice, 40, number))
    corpus = Corpus(folder)
    corpus.load_new()
    return corpus


def _draw(corpus: Corpus, kind: WindowKind, count: int) -> list[Window]:
    sampler = WindowSampler(corpus, random.Random(0))
    return [sampler.draw(kind)[0] for _ in range(count)]


def _split(window: Window) -> tuple[list[int], list[int]]:
    """The prompt and what follows `<|startoftranscript|>`, without `<|endoftext|>`."""
    start = window.tokens.index(tokenizer().sot)
    return window.tokens[:start], window.tokens[start + 1 : -1]


def test_shards_keep_utterances(tmp_path: Path) -> None:
    written = _utterances("flite-slt", 5, 9)
    write_shard(tmp_path / "shard.npz", written)
    read = read_shard(tmp_path / "shard.npz")
    assert [u.text for u in read] == [u.text for u in written]
    assert all(np.array_equal(a.log_power, b.log_power) for a, b in zip(read, written, strict=True))
    assert [path.name for path in tmp_path.iterdir()] == ["shard.npz"]


def test_sources_and_new_shards(corpus: Corpus, tmp_path: Path) -> None:
    assert {source: len(pool) for source, pool in corpus.by_source.items()} == dict.fromkeys(
        ["digits", "prompts", "espeak", "voices"], 40
    )
    growing = Corpus(tmp_path)
    growing.load_new()
    assert growing.hours == 0
    write_shard(tmp_path / "late.npz", _utterances("flite-awb", 3, 1))
    growing.load_new()
    growing.load_new()
    assert len(growing.by_source["voices"]) == 3


@pytest.mark.parametrize("frames", [400, 1200, FULL_WINDOW])
def test_features_are_whole_and_in_whispers_range(corpus: Corpus, frames: int) -> None:
    for window in _draw(corpus, WindowKind(frames, prompted=0.5), 30):
        assert window.features.shape == (80, frames)
        assert torch.isfinite(window.features).all()
        assert float(window.features.max() - window.features[:, :10].min()) <= 2.0 + 3.0


def test_timestamps_come_in_pairs_and_never_go_back(corpus: Corpus) -> None:
    tok = tokenizer()
    kind = WindowKind(FULL_WINDOW, full=1.0, short=0.0, empty=0.0, timestamps=1.0, prompted=0.5)
    cuts = 0
    for window in _draw(corpus, kind, 40):
        body = _split(window)[1][2:]
        stamps = [token for token in body if token >= tok.timestamp_begin]
        assert stamps == sorted(stamps)
        assert stamps[0] <= tok.timestamp_begin + 50
        assert body[0] >= tok.timestamp_begin
        assert body[-1] >= tok.timestamp_begin
        lone = len(stamps) % 2
        assert (body[-2] >= tok.timestamp_begin) == bool(lone)
        assert (window.heard < FULL_WINDOW) == bool(lone)
        cuts += lone
    assert cuts > 10


@pytest.mark.parametrize("sounds", [0.0, 1.0])
def test_a_window_without_speech_says_so(corpus: Corpus, sounds: float) -> None:
    tok = tokenizer()
    kind = WindowKind(600, full=0.0, short=0.0, empty=1.0, timestamps=1.0, sounds=sounds)
    starts = set()
    for window in _draw(corpus, kind, 60):
        assert window.targets[window.tokens.index(tok.sot)] == tok.no_speech
        assert window.characters == []
        (start,) = _split(window)[1][2:]
        starts.add(start - tok.timestamp_begin)
    assert max(starts) <= 50
    assert len(starts) > 20


def test_a_sound_beside_speech_is_softer_or_in_its_pauses(corpus: Corpus) -> None:
    kind = WindowKind(FULL_WINDOW, full=0.0, short=1.0, empty=0.0)
    sampler, below, beside = WindowSampler(corpus, random.Random(2)), 0, 0
    for _ in range(20):
        layout = sampler._place(kind, "short", prompted=False, may_cut=False)
        clean = layout.log_power[:, : layout.end]
        mixed = sampler._beside_speech(layout, kind)
        spoken = torch.zeros(layout.end, dtype=torch.bool)
        for _, start, stop in layout.segments:
            spoken[start:stop] = True
        assert (mixed >= clean - 1e-4).all()
        if torch.equal(mixed[:, spoken], clean[:, spoken]):
            beside += 1
        else:
            below += 1
            assert float(mixed[:, ~spoken].max()) <= float(clean.max()) - 1.1
    assert min(below, beside) > 4


def test_prompts_are_as_transcribe_gives_them(corpus: Corpus) -> None:
    tok = tokenizer()
    kind = WindowKind(FULL_WINDOW, prompted=1.0, timestamps=1.0)
    for window in _draw(corpus, kind, 60):
        prompt, _ = _split(window)
        assert prompt[0] == tok.sot_prev
        assert len(prompt) <= PROMPT_LENGTH + 1
        assert len(window.tokens) <= 448
        assert window.targets[: len(prompt)] == [-1] * len(prompt)
        assert window.targets[len(prompt)] in (language_token(), tok.no_speech)
        assert any(token >= tok.timestamp_begin for token in prompt)


def test_without_timestamps_there_are_none(corpus: Corpus) -> None:
    tok = tokenizer()
    for window in _draw(corpus, WindowKind(800, timestamps=0.0, empty=0.0, prompted=0.5), 20):
        assert all(token < tok.timestamp_begin for token in window.tokens)
        assert tok.no_timestamps in window.tokens


def test_mistakes_are_read_but_never_learnt() -> None:
    tok, rng = tokenizer(), random.Random(0)
    words = encode("seven zero nine two")
    clean = [*tok.sot_sequence, timestamp(0), *words, timestamp(200), tok.eot]
    repeated = replaced = 0
    for _ in range(300):
        sequence, targets = clean.copy(), [*clean[1:], -1]
        disturb(sequence, targets, len(tok.sot_sequence), rng)
        assert len(sequence) == len(targets)
        assert targets[-1] == -1
        assert sequence[:4] == clean[:4]
        learnt = [token for place, token in enumerate(targets) if place == 0 or token != targets[place - 1]]
        assert learnt == [*clean[1:], -1]
        repeated += len(sequence) > len(clean)
        replaced += len(sequence) == len(clean) and sequence != clean
    assert 15 < repeated < 60
    assert 5 < replaced < 60


def test_batches_hold_compact_tokens(corpus: Corpus) -> None:
    windows = [(window, 0) for window in _draw(corpus, WindowKind(500), 6)]
    compact = {token: token % 1000 for window, _ in windows for token in window.tokens + window.targets if token >= 0}
    batch = collate(windows, compact)
    assert batch.features.shape == (6, 80, 500)
    assert batch.tokens.shape == batch.targets.shape
    assert int(batch.character_counts.sum()) == len(batch.characters)
    for row, (window, _) in enumerate(windows):
        learnt = [compact[token] for token in window.targets if token >= 0]
        assert batch.targets[row][batch.targets[row] >= 0].tolist() == learnt
