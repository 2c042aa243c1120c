"""What windows are decoded from: prompts, and what comes of them before a token is chosen."""

from extensibility import InputTensor
from std.math import exp, max, min
from std.memory import alloc

from .caches import Text
from .choice import Allowed, Choice
from .decoder import Decoder
from .tiles import load, store


@fieldwise_init
struct Prompts(ImplicitlyCopyable):
    """The tokens before the windows' texts."""

    var windows: Int
    var length: Int
    var tokens: Int  # int64 [windows, length]
    var padding: Int  # int64 [windows], how many of the first tokens stand for nothing
    var start: Int  # which token is <|startoftranscript|>
    var no_speech: Int  # the token of a window without speech
    var context: Int  # positions that the model has

    @staticmethod
    def of(
        tokens: InputTensor[dtype=DType.int64, rank=2, ...],
        padding: InputTensor[dtype=DType.int64, rank=1, ...],
        numbers: InputTensor[dtype=DType.int64, rank=1, ...],
        context: Int,
    ) -> Self:
        """numbers: int64, which token is <|startoftranscript|>, and the token of no speech."""
        return Self(
            tokens.shape()[0],
            tokens.shape()[1],
            Int(tokens.unsafe_ptr()),
            Int(padding.unsafe_ptr()),
            Int(numbers.unsafe_ptr().unsafe_load()),
            Int(load[DType.int64, 1](Int(numbers.unsafe_ptr()) + 8)),
            context,
        )

    def text(self, numbers: Int, slots: Int, table: Int, capacity: Int, width: Int) -> Text:
        """The prompts as a step: one hypothesis for each window."""
        return Text(self.windows, 1, slots, self.length, width, 0, self.padding, numbers, table, capacity)

    @always_inline
    def place(self, window: Int, position: Int) -> Int:
        """The position in a window's text of what is at a position of the caches."""
        return max(0, min(position - Int(load[DType.int64, 1](self.padding + window * 8)), self.context - 1))

    def read[
        instructions: StaticString, weight: DType
    ](self, decoder: Decoder[instructions, weight], text: Text, choice: Choice, room: Int, no_speech_probs: Int):
        """Append the prompts to the caches; the choice's row 2 * window + 1 has the first token of a window's text.

        text: of all windows in their order, one hypothesis each. no_speech_probs: float32 [windows], set to the
        probability of no speech.
        """
        var numbers = alloc[Int64](self.windows * self.length + 2)
        var places = Int(numbers)
        var positions = places + self.windows * self.length * 8
        store(positions, Int64(self.start))
        store(positions + 8, Int64(self.length - 1))
        for window in range(self.windows):
            for i in range(self.length):
                store(places + (window * self.length + i) * 8, Int64(self.place(window, i)))
            # Of the first row no text is chosen: the second range is the one token whose probability is asked for.
            choice.allow(2 * window, Allowed(0, choice.n_vocab, self.no_speech, self.no_speech + 1, 0))
            choice.allow(2 * window + 1, Allowed.after(0, 0, choice.rules, choice.n_vocab))
        decoder.choose(text, self.tokens, places, positions, 2, room, choice)
        numbers.free()
        for window in range(self.windows):
            var all = choice.part(2 * window, 0)
            var logit = choice.part(2 * window, 1).largest()
            store(no_speech_probs + window * 4, exp(logit - all.largest()) / all.total())


def largest_of(values: Int, count: Int) -> Int:
    """The largest of values int64 [count], or 0."""
    var largest = 0
    for i in range(count):
        largest = max(largest, Int(load[DType.int64, 1](values + i * 8)))
    return largest
