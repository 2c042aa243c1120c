"""Training windows, put together the way openai-whisper's `transcribe` cuts them out of a recording.

- The log-mel is clamped below the maximum of the whole recording, and what follows the recording's end is 0.0 after
  scaling (`transcribe` pads features), or the clamp's floor (`detect_language` pads samples).
- A window begins where the last finished segment of the one before ended, so it may begin with a pause or with the last
  moment of a word; the segments before are its prompt, with their timestamps, cut to 223 tokens.
- An utterance that does not end inside the window is a lone start timestamp, so that `transcribe` seeks to it.
- Where nobody speaks, be it silent, noisy or full of music, the target after `<|startoftranscript|>` is
  `<|nospeech|>`. Nothing starts anywhere, so the first timestamp is drawn evenly from those allowed: its low
  probability takes the average below `logprob_threshold`, and `transcribe` skips the window.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from training.augment import Condition, add_power, draw_noise, mask_randomly
from training.features import FLOOR, N_MELS, log_mel_power, normalize
from training.model import CHARACTERS
from training.shards import Corpus
from training.sounds import draw_sound
from training.vocabulary import FIRST_TIMESTAMPS, TIMESTAMP_STEP, encode, language_token, timestamp, tokenizer

PROMPT_LENGTH = 223
FULL_WINDOW = 3000
CHARACTER_CODES = {character: code for code, character in enumerate(CHARACTERS, 1)}


@dataclass(frozen=True)
class Window:
    """One training example.

    Attributes:
        features: float32 [80, frames], as Whisper's encoder takes them.
        tokens: what the decoder reads.
        targets: for each of `tokens` the token that follows, or -1 where nothing is to be learnt.
        characters: the spoken text as character codes, for CTC.
        heard: frames up to which `characters` reach.
    """

    features: Tensor
    tokens: list[int]
    targets: list[int]
    characters: list[int]
    heard: int


@dataclass
class _Layout:
    """Utterances placed in a window, before noise and scaling."""

    log_power: Tensor
    segments: list[tuple[str, int, int]] = field(default_factory=list)
    end: int = 0
    cut: int | None = None
    """Where an utterance starts that the window's end cuts off."""


@dataclass(frozen=True)
class WindowKind:
    """What a batch of windows looks like.

    Attributes:
        frames: frames of 10 ms; 3000 is Whisper's window.
        full, short, empty: relative numbers of windows in the middle of a recording, at its end, and without speech.
        prompted: chance of previous text.
        shifted: chance that a window shorter than 30 s stands somewhere inside the 30 s.
        strength: how much is augmented, 0 to 1.
        timestamps: chance of timestamps.
        sounds: chance that a window without speech has music or another sound.
        background: chance of such a sound beside speech: softer below all of it, or in its pauses.
        mistakes: whether the decoder now and then reads mistakes.
    """

    frames: int
    full: float = 0.8
    short: float = 0.15
    empty: float = 0.1
    prompted: float = 0.0
    shifted: float = 0.15
    strength: float = 0.25
    timestamps: float = 0.8
    sounds: float = 0.65
    background: float = 0.1
    mistakes: bool = False


class WindowSampler:
    """Draws windows from a corpus."""

    def __init__(self, corpus: Corpus, rng: random.Random) -> None:
        self.corpus = corpus
        self.rng = rng

    def draw(self, kind: WindowKind) -> tuple[Window, int]:
        """A window and the position (20 ms steps) at which it stands inside the 30 s."""
        rng = self.rng
        shift = 0
        if kind.frames < FULL_WINDOW and rng.random() < kind.shifted:
            shift = rng.randint(0, (FULL_WINDOW - kind.frames) // 2)
        filling = rng.choices(["full", "short", "empty"], [kind.full, kind.short, kind.empty])[0]
        prompted = rng.random() < kind.prompted
        timestamps = rng.random() < kind.timestamps
        if filling == "empty":
            layout = self._silence(kind.frames)
        else:
            layout = self._place(kind, filling, prompted, may_cut=timestamps)
        features = self._features(layout, kind)
        prompt = self._prompt(timestamps) if prompted else []
        head, body, first = self._transcript(layout, timestamps, 2 * shift)
        tokens = [*head, *body, tokenizer().eot]
        targets = [first, *tokens[2:], -1]
        if kind.mistakes and layout.segments:
            disturb(tokens, targets, len(head), rng)
        if prompt:
            tokens = [tokenizer().sot_prev, *prompt, *tokens]
            targets = [-1] * (len(prompt) + 1) + targets
        text = " ".join(segment[0] for segment in layout.segments)
        characters = [CHARACTER_CODES[character] for character in text]
        heard = kind.frames if layout.cut is None else layout.cut
        return Window(features, tokens, targets, characters, heard), shift

    def _silence(self, frames: int) -> _Layout:
        end = frames if self.rng.random() < 0.5 else self.rng.randint(10, frames)
        return _Layout(torch.full((N_MELS, frames), FLOOR), end=end)

    def _pause(self, frames: int) -> int:
        """Frames between utterances: mostly under 2 s, in long windows now and then up to 10 s."""
        rng = self.rng
        if frames >= 1500 and rng.random() < 0.08:
            return rng.randint(200, 1000)
        return int(rng.choice([rng.uniform(0, 15), rng.uniform(5, 60), rng.uniform(30, 90), rng.uniform(50, 200)]))

    def _lead(self, frames: int, prompted: bool) -> int:
        """Frames before the first utterance; a window with previous text begins with a pause."""
        rng = self.rng
        if prompted or (frames >= 1500 and rng.random() < 0.15):
            return self._pause(frames)
        return int(rng.choice([0, rng.uniform(0, 10), rng.uniform(0, 40), rng.uniform(0, 100)]))

    def _place(self, kind: WindowKind, filling: str, prompted: bool, may_cut: bool) -> _Layout:
        rng, frames = self.rng, kind.frames
        layout = _Layout(torch.full((N_MELS, frames), FLOOR))
        most = 99 if filling == "full" else rng.choice([1, 1, 1, 2, 3, 4])
        position = min(self._lead(frames, prompted), frames // 2)
        condition = Condition.draw(rng, kind.strength)
        if prompted and rng.random() < 0.3:
            tail = torch.from_numpy(self.corpus.draw(rng).log_power[:, -rng.randint(3, 14) :]).float()
            tail = tail[:, :frames]
            layout.log_power[:, : tail.shape[1]] = tail + condition.gain
            position = max(position, tail.shape[1] + 5)
        while len(layout.segments) < most and position < frames - 5:
            if layout.segments and rng.random() < 0.35:
                condition = Condition.draw(rng, kind.strength)
            utterance = self.corpus.draw(rng)
            for _ in range(6):
                if position + condition.length(utterance.frames) <= frames:
                    break
                utterance = self.corpus.draw(rng)
            sound = condition.apply(torch.from_numpy(utterance.log_power).float())
            end = position + sound.shape[1]
            if end > frames:
                if layout.segments and may_cut and filling == "full":
                    layout.log_power[:, position:] = sound[:, : frames - position]
                    layout.cut = position
                break
            layout.log_power[:, position:end] = sound
            layout.segments.append((utterance.text, position, end))
            position = end + self._pause(frames)
        if not layout.segments:
            return self._silence(frames) if prompted else self._place(kind, filling, False, may_cut)
        spoken = layout.segments[-1][2]
        in_the_middle = layout.cut is not None or (filling == "full" and rng.random() < 0.6)
        layout.end = frames if in_the_middle else min(frames, spoken + rng.choice([0, 5, 20, 40, 100]))
        return layout

    def _sound(self, frames: int, kind: WindowKind) -> Tensor:
        """log10 mel power [80, frames] of a sound without speech, in a room of its own."""
        condition = replace(Condition.draw(self.rng, kind.strength), stretch=1.0, gain=0.0)
        return condition.apply(torch.from_numpy(log_mel_power(draw_sound(self.rng, frames))).float())

    def _beside_speech(self, layout: _Layout, kind: WindowKind) -> Tensor:
        """What is heard up to the window's end, with a sound below the speech or in its pauses."""
        rng, end = self.rng, layout.end
        heard = layout.log_power[:, :end]
        sound = self._sound(end, kind)
        if rng.random() < 0.5:
            return add_power(heard, sound + float(heard.max() - sound.max()) - rng.uniform(1.2, 4.0))
        pause = torch.ones(end, dtype=torch.bool)
        spoken = [(start, stop) for _, start, stop in layout.segments]
        for start, stop in [*spoken, *([] if layout.cut is None else [(layout.cut, end)])]:
            pause[max(0, start - 5) : stop + 5] = False
        return torch.where(pause, add_power(heard, sound), heard)

    def _features(self, layout: _Layout, kind: WindowKind) -> Tensor:
        rng, end = self.rng, layout.end
        heard = layout.log_power[:, :end]
        quiet = False
        if layout.segments:
            if rng.random() < kind.background:
                heard = self._beside_speech(layout, kind)
        elif rng.random() < kind.sounds:
            heard = self._sound(end, kind)
        else:
            quiet = True
        if quiet or rng.random() < 0.6:
            loudest = rng.uniform(-3.0, 1.0) if quiet else float(heard.max())
            below = rng.uniform(2.3, 6.5) if rng.random() < 0.75 else rng.uniform(1.4, 3.2)
            if not quiet or rng.random() < 0.8:
                heard = add_power(heard, draw_noise(rng, end, loudest - below))
        elsewhere = float(heard.max()) + (rng.uniform(0, 1.0) if rng.random() < 0.35 else 0.0)
        if quiet and rng.random() < 0.6:
            elsewhere = float(heard.max()) + rng.uniform(1.0, 7.0)
        features = normalize(heard, elsewhere)
        if rng.random() < 0.3 * kind.strength and not quiet:
            mask_randomly(features, rng)
        if end == kind.frames:
            return features
        after = 0.0 if rng.random() < 0.7 else (max(FLOOR, elsewhere - 8.0) + 4.0) / 4.0
        return torch.cat([features, torch.full((N_MELS, kind.frames - end), after)], dim=1)

    def _prompt(self, timestamps: bool) -> list[int]:
        """Previous segments as `transcribe` passes them: whole windows of segments, the last 223 tokens."""
        rng = self.rng
        length = PROMPT_LENGTH if rng.random() < 0.35 else rng.randint(4, PROMPT_LENGTH)
        prompt: list[int] = []
        frame = rng.randint(0, 100)
        while len(prompt) < length:
            utterance = self.corpus.draw(rng)
            text = list(encode(utterance.text))
            if frame + utterance.frames > FULL_WINDOW:
                frame = rng.randint(0, 100)
            end = frame + utterance.frames
            repeats = rng.randint(3, 8) if rng.random() < 0.01 else 1
            segment = [timestamp(frame), *text, timestamp(end)] if timestamps else text
            prompt += segment * repeats
            frame = end + self._pause(0)
        if rng.random() < 0.15:
            wrong = rng.uniform(0.02, 0.3)
            pool = encode(self.corpus.draw(rng).text)
            begin = tokenizer().timestamp_begin
            prompt = [rng.choice(pool) if t < begin and rng.random() < wrong else t for t in prompt]
        whole = rng.random() < 0.5 and length < PROMPT_LENGTH
        return prompt[-PROMPT_LENGTH:] if whole else prompt[-length:]

    def _transcript(self, layout: _Layout, timestamps: bool, shift: int) -> tuple[list[int], list[int], int]:
        """How the transcript begins, what it says, and what follows `<|startoftranscript|>`."""
        tok, rng = tokenizer(), self.rng
        head = [*tok.sot_sequence] + ([] if timestamps else [tok.no_timestamps])
        if not layout.segments:
            silence = [tok.timestamp_begin + rng.randrange(FIRST_TIMESTAMPS)] if timestamps else []
            return head, silence, tok.no_speech
        body: list[int] = []
        last = tok.timestamp_begin
        for text, start, end in layout.segments:
            if not timestamps:
                body += encode(text)
                continue
            begin = timestamp(start + shift) if body or shift else timestamp(min(start, 100))
            begin = max(begin, last)
            last = max(timestamp(end + shift), begin + TIMESTAMP_STEP)
            body += [begin, *encode(text), last]
        if timestamps and layout.cut is not None:
            body.append(max(timestamp(layout.cut + shift), last))
        return head, body, language_token()


def disturb(sequence: list[int], targets: list[int], start: int, rng: random.Random) -> None:
    """Now and then put mistakes into what the decoder reads after `start`; what it shall say next stays right.

    A decoder that only ever read correct text cannot find its way back from a mistake of its own: it repeats a word
    until the window is full. Words are replaced, or the last one to three words are repeated up to twelve times. Both
    lists are changed in place.
    """
    begin = tokenizer().timestamp_begin
    words = [place for place in range(start, len(sequence) - 1) if sequence[place] < begin]
    if not words:
        return
    if rng.random() < 0.2:
        for place in words:
            if rng.random() < 0.1:
                sequence[place] = sequence[rng.choice(words)]
    if rng.random() < 0.12:
        place = rng.choice(words)
        length = rng.randint(1, min(3, place - start + 1))
        repeated = sequence[place - length + 1 : place + 1] * rng.choice([1, 1, 2, 3, rng.randint(4, 12)])
        sequence[place + 1 : place + 1] = repeated
        targets[place + 1 : place + 1] = [targets[place]] * len(repeated)


@dataclass(frozen=True)
class Batch:
    """Windows of one length, with compact tokens; unused places of `targets` are -1."""

    features: Tensor
    offsets: Tensor
    tokens: Tensor
    targets: Tensor
    characters: Tensor
    character_counts: Tensor
    heard: Tensor


def collate(windows: list[tuple[Window, int]], compact: dict[int, int]) -> Batch:
    """Stack windows of equal length."""
    length = max(len(window.tokens) for window, _ in windows)
    tokens = np.zeros((len(windows), length), np.int64)
    targets = np.full((len(windows), length), -1, np.int64)
    for row, (window, _) in enumerate(windows):
        tokens[row, : len(window.tokens)] = [compact[token] for token in window.tokens]
        targets[row, : len(window.targets)] = [compact.get(token, -1) for token in window.targets]
    return Batch(
        features=torch.stack([window.features for window, _ in windows]),
        offsets=torch.tensor([offset for _, offset in windows]),
        tokens=torch.from_numpy(tokens),
        targets=torch.from_numpy(targets),
        characters=torch.tensor([code for window, _ in windows for code in window.characters]),
        character_counts=torch.tensor([len(window.characters) for window, _ in windows]),
        heard=torch.tensor([window.heard for window, _ in windows]),
    )
