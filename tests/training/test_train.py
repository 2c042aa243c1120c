"""The schedule, and a few steps of training that can be stopped and continued."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from training.shards import Corpus, Utterance, write_shard
from training.train import PHASES, Training, batch_frames, draw_kind, learning_rate_factor, losses, train
from training.vocabulary import used_tokens
from training.windows import FULL_WINDOW, Batch, WindowKind, WindowSampler, collate

TEXTS = ["one two three", "turn on the lights", "good morning anna"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    noise = np.random.default_rng(0)
    made = [Utterance(text, "flite-slt", noise.uniform(-6, 0, (80, 120)).astype(np.float16)) for text in TEXTS]
    write_shard(folder / "prompts-0000.npz", made)
    return folder


def _batch(folder: Path, training: Training, kind: WindowKind) -> Batch:
    corpus = Corpus(folder)
    corpus.load_new()
    sampler = WindowSampler(corpus, random.Random(0))
    return collate([sampler.draw(kind) for _ in range(3)], training.model.compact)


@pytest.fixture
def training() -> Training:
    torch.manual_seed(0)
    return Training(used_tokens(TEXTS))


def test_phases_cover_the_whole_time() -> None:
    ends = [phase.until for phase in PHASES]
    assert ends == sorted(ends)
    assert ends[-1] == 1.0
    assert all(phase.full + phase.middle < 1 for phase in PHASES)


def test_windows_get_longer() -> None:
    rng = random.Random(0)
    full = [Counter(draw_kind(p, rng).frames for _ in range(400))[FULL_WINDOW] for p in (0.0, 0.2, 0.5, 0.9)]
    assert full[0] == 0
    assert full == sorted(full)
    assert 220 < full[-1] < 300
    assert batch_frames(0.1) < batch_frames(0.5) < batch_frames(0.9)


def test_learning_rate_rises_stays_and_falls_to_zero() -> None:
    assert learning_rate_factor(0.0, 0) < 0.1
    assert learning_rate_factor(0.1, 500) == learning_rate_factor(0.5, 5000) == 1.0
    assert learning_rate_factor(0.75, 5000) == pytest.approx(0.5)
    assert learning_rate_factor(1.0, 9000) == 0.0


def test_loss_falls_on_one_batch(folder: Path, training: Training) -> None:
    batch = _batch(folder, training, WindowKind(300, full=1.0, short=0.0, empty=0.0))
    training.model.scale_stem(batch.features)
    first = training.update(batch, progress=0.1)
    for _ in range(14):
        last = training.update(batch, progress=0.1)
    assert last[0] < first[0] - 1
    assert last[1] < first[1]


def test_full_windows_have_no_ctc_loss(folder: Path, training: Training) -> None:
    batch = _batch(folder, training, WindowKind(FULL_WINDOW, prompted=1.0))
    entropy, ctc, _ = losses(training.model, batch)
    assert torch.isfinite(entropy)
    assert ctc.item() == 0


def test_average_lags_behind(folder: Path, training: Training) -> None:
    batch = _batch(folder, training, WindowKind(300))
    start = training.model.embedding.detach().clone()
    for _ in range(3):
        training.update(batch, progress=0.1)
    moved = (training.model.embedding.detach() - start).norm()
    averaged = (training.average["embedding"] - start).norm()
    assert 0 < averaged < moved


def test_resumed_training_goes_on_where_it_was(folder: Path, training: Training, tmp_path: Path) -> None:
    batch = _batch(folder, training, WindowKind(300))
    training.update(batch, progress=0.1)
    training.minutes = 1.5
    training.save(tmp_path / "training.pt")
    resumed = Training.resume(tmp_path / "training.pt")
    assert (resumed.step, resumed.minutes) == (1, 1.5)
    for run in (training, resumed):
        torch.manual_seed(1)
        run.update(batch, progress=0.1)
    for name, value in training.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value)


def test_train_writes_a_checkpoint_and_continues(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = torch.get_num_threads()
    try:
        train(folder, tmp_path, minutes=0.02)
        done = Training.resume(tmp_path / "training.pt")
        assert done.minutes >= 0.02
        train(folder, tmp_path, minutes=0.02)
        assert Training.resume(tmp_path / "training.pt").step == done.step
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    assert {path.name for path in tmp_path.iterdir()} == {"training.pt", "nano.safetensors"}
    assert "tokens in use" in capsys.readouterr().out
