"""Train `nano` on a folder of shards, for a given number of minutes.

    python -m training.train --corpus build/nano/corpus --out build/nano --minutes 90

The schedule follows the clock, not a number of steps, so a slower machine trains less rather than longer. Stopped and
started again with the same `--out`, it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model import TrainableWhisper, save_checkpoint
from training.muon import Muon
from training.shards import Corpus, read_shard
from training.texts import VOCABULARY
from training.vocabulary import tokenizer, used_tokens
from training.windows import FULL_WINDOW, Batch, WindowKind, WindowSampler, collate

LEARNING_RATE = 1.5e-3
MUON_RATE = 2.0e-3
WARM_UP_STEPS = 30
CONSTANT_UNTIL = 0.5
"""The part of the time after which the learning rate falls linearly to zero."""
CTC_WEIGHT = 0.3
LABEL_SMOOTHING = 0.06
AVERAGE_DECAY = 0.998


@dataclass(frozen=True)
class Phase:
    """A part of the training, by the share of the time that is over at its end.

    Attributes:
        until: where the phase ends, 0 to 1.
        full, middle: shares of batches with 30 s and with 8 to 16 s; the others have 3 to 7 s.
        full_prompted, middle_prompted: chance that such a window has previous text.
        short_prompted: share of the batches of short windows in which most have previous text. A prompt is longer than
            the text of a short window and costs more than its sound.
        mistakes: whether the decoder now and then reads mistakes; it should know the words first.
    """

    until: float
    full: float = 0.0
    middle: float = 0.0
    full_prompted: float = 0.5
    middle_prompted: float = 0.4
    short_prompted: float = 0.05
    mistakes: bool = False


_PROMPTED = Phase(until=0.6, full=0.35, middle=0.35, full_prompted=0.75, middle_prompted=0.75, short_prompted=0.3)
PHASES = (
    Phase(until=0.34, full=0.10, middle=0.15),
    Phase(until=0.48, full=0.35, middle=0.35),
    _PROMPTED,
    replace(_PROMPTED, until=1.0, full=0.65, middle=0.20, mistakes=True),
)


def draw_kind(progress: float, rng: random.Random) -> WindowKind:
    """What the next batch looks like: from short windows to mostly full ones, with every kind from the start."""
    if progress < 0.04:
        return WindowKind(rng.choice([250, 350]), prompted=0.0, shifted=0.0, timestamps=0.5)
    phase = next(phase for phase in PHASES if progress <= phase.until)
    choice = rng.random()
    if choice < phase.full:
        kind = WindowKind(FULL_WINDOW, full=0.5, short=0.4, empty=0.2, prompted=phase.full_prompted)
    elif choice < phase.full + phase.middle:
        kind = WindowKind(rng.choice([800, 1200, 1600]), prompted=phase.middle_prompted, shifted=0.3)
    else:
        prompted = 0.8 if rng.random() < phase.short_prompted else 0.0
        kind = WindowKind(rng.choice([300, 400, 500, 700]), prompted=prompted)
    return replace(kind, mistakes=phase.mistakes)


def batch_frames(progress: float) -> int:
    """Frames in a batch: larger batches as the steps get finer."""
    return 8000 if progress < 0.34 else 10000 if progress < 0.7 else 12000


def learning_rate_factor(progress: float, step: int) -> float:
    warm_up = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm_up * min(1.0, max(0.0, (1 - progress) / (1 - CONSTANT_UNTIL)))


def losses(model: TrainableWhisper, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropy of the next token, CTC loss a character, and the share of tokens that are right."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.encode(batch.features, batch.offsets)
        hidden = model.decode(batch.tokens, features)
        learnt = batch.targets >= 0
        logits = model.logits(hidden[learnt])
        characters = model.ctc(features).float().log_softmax(-1)
    targets = batch.targets[learnt]
    log_probs = logits.log_softmax(-1)
    likelihood = -log_probs.gather(1, targets[:, None])[:, 0].mean()
    # The shared row of unused tokens takes no part in the smoothing: its one logit stands for tens of thousands.
    spread = -log_probs[:, :-1].mean()
    entropy = (1 - LABEL_SMOOTHING) * likelihood + LABEL_SMOOTHING * spread
    if batch.features.shape[-1] == FULL_WINDOW:
        # The loss over 1500 positions costs as much as a quarter of the network, and shorter windows teach the same.
        return entropy, entropy.new_zeros(()), (logits.argmax(-1) == targets).float().mean()
    ctc = functional.ctc_loss(
        characters.transpose(0, 1),
        batch.characters,
        batch.heard // 2,
        batch.character_counts,
        reduction="sum",
        zero_infinity=True,
    ) / batch.character_counts.sum().clamp(min=1)
    return entropy, ctc, (logits.argmax(-1) == targets).float().mean()


class Training:
    """The model, its average, its optimizers and how far they have come."""

    def __init__(self, vocabulary: list[int]) -> None:
        self.model = TrainableWhisper(vocabulary)
        self.model.initialize_timestamps(tokenizer().timestamp_begin)
        matrices = [
            parameter
            for name, parameter in self.model.named_parameters()
            if parameter.ndim == 2 and "embedding" not in name and not name.startswith("ctc")
        ]
        chosen = {id(parameter) for parameter in matrices}
        others = [p for p in self.model.parameters() if p.requires_grad and id(p) not in chosen]
        self.muon = Muon(matrices, lr=MUON_RATE)
        self.adam = torch.optim.AdamW(others, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.step = 0
        self.minutes = 0.0

    def update(self, batch: Batch, progress: float) -> tuple[float, float, float]:
        """One step of both optimizers; the losses."""
        entropy, ctc, right = losses(self.model, batch)
        self.model.zero_grad(set_to_none=True)
        ((1 - CTC_WEIGHT) * entropy + CTC_WEIGHT * ctc).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        factor = learning_rate_factor(progress, self.step)
        for optimizer, rate in ((self.muon, MUON_RATE), (self.adam, LEARNING_RATE)):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
        self.step += 1
        decay = min(AVERAGE_DECAY, self.step / (self.step + 20))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        return entropy.item(), ctc.item(), right.item()

    def export(self, path: Path) -> None:
        """Write the averaged weights as a checkpoint that max-whisper loads."""
        current = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        save_checkpoint(self.model.whisper_state(), path)
        self.model.load_state_dict(current)

    def save(self, path: Path) -> None:
        """Write everything that going on needs."""
        state = {
            "vocabulary": self.model.used_tokens,
            "model": self.model.state_dict(),
            "average": self.average,
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(path)

    @classmethod
    def resume(cls, path: Path) -> Training:
        """Read what `save` wrote."""
        state = torch.load(path, weights_only=True)
        training = cls(state["vocabulary"])
        training.model.load_state_dict(state["model"])
        training.average = state["average"]
        training.muon.load_state_dict(state["muon"])
        training.adam.load_state_dict(state["adam"])
        training.step, training.minutes = state["step"], state["minutes"]
        return training


def train(corpus_folder: Path, out: Path, minutes: float, seed: int = 0) -> None:
    """Train for `minutes`, leaving `training.pt` and `nano.safetensors` in `out` every three minutes."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    checkpoint = out / "training.pt"
    prompts = [utterance.text for utterance in read_shard(corpus_folder / "prompts-0000.npz")]
    fresh = not checkpoint.exists()
    training = Training(used_tokens(VOCABULARY + prompts)) if fresh else Training.resume(checkpoint)
    rng = random.Random(f"{seed}/{training.step}")
    corpus = Corpus(corpus_folder)
    corpus.load_new()
    sampler = WindowSampler(corpus, rng)
    compact = training.model.compact

    def next_batch(progress: float) -> Batch:
        kind = draw_kind(progress, rng)
        count = max(2, batch_frames(progress) // kind.frames)
        return collate([sampler.draw(kind) for _ in range(count)], compact)

    if fresh:
        training.model.scale_stem(next_batch(0.0).features)
    print(f"{corpus.hours:.1f} h of speech, {len(compact)} tokens in use", flush=True)
    earlier, started = training.minutes, time.monotonic()
    saved, reported, waiting = started, started, 0.0
    sums: defaultdict[str, float] = defaultdict(float)
    while training.minutes < minutes:
        progress = training.minutes / minutes
        before = time.monotonic()
        batch = next_batch(progress)
        waiting += time.monotonic() - before
        entropy, ctc, right = training.update(batch, progress)
        for name, value in (("entropy", entropy), ("ctc", ctc), ("right", right), ("steps", 1)):
            sums[name] += value
        now = time.monotonic()
        training.minutes = earlier + (now - started) / 60
        if training.step % 50 == 0:
            mean = {name: value / sums["steps"] for name, value in sums.items()}
            print(
                f"{training.minutes:6.2f} min  step {training.step}  entropy {mean['entropy']:.3f}  "
                f"ctc {mean['ctc']:.3f}  right {mean['right']:.3f}  "
                f"{(now - reported) / sums['steps']:.3f} s a step ({waiting / sums['steps']:.3f} data)",
                flush=True,
            )
            sums.clear()
            reported, waiting = now, 0.0
            corpus.load_new(limit=2)
        if now - saved > 180:
            training.save(checkpoint)
            training.export(out / "nano.safetensors")
            saved = now
    training.save(checkpoint)
    training.export(out / "nano.safetensors")
    print(f"{training.step} steps in {training.minutes:.1f} min", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments.corpus, arguments.out, arguments.minutes, arguments.seed)
