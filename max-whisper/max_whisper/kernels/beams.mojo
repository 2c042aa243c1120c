"""Beam search from the prompts to the end of the texts in one operation, as decoding/beam.py has it."""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, max
from std.memory import alloc

from .caches import Text
from .choice import FORBIDDEN, Allowed, Best, Choice
from .decoder import decoder_of
from .prompt import Prompts, largest_of
from .tiles import SIDE, load, store


@fieldwise_init
struct Results(ImplicitlyCopyable):
    """The texts of each window: room for `enough` that end, then for as many as there are beams."""

    var enough: Int
    var texts: Int  # of each window
    var context: Int  # tokens that a text has room for
    var tokens: Int  # int64 [windows, texts, context]
    var lengths: Int  # int64 [windows, texts]; -1 where no text has ended
    var sums: Int  # float32 [windows, texts], natural log probabilities

    def clear(self, window: Int):
        for i in range(self.texts):
            store(self.lengths + (window * self.texts + i) * 8, Int64(-1))

    def put(self, window: Int, number: Int, text: List[Int64], sum: Float32):
        var place = window * self.texts + number
        for i in range(len(text)):
            store(self.tokens + (place * self.context + i) * 8, text[i])
        store(self.lengths + place * 8, Int64(len(text)))
        store(self.sums + place * 4, sum)


struct Window(Copyable, Movable):
    """The hypotheses of a window, the most probable first."""

    var texts: List[List[Int64]]
    var sums: List[Float32]  # natural log probabilities
    var slots: List[Int]  # of the caches, in which their last tokens are
    var n_ended: Int
    var table: Int  # uint16 [beams, capacity], as `Indirection` reads it
    var capacity: Int

    def __init__(out self, beams: Int, prompt: Int, table: Int, capacity: Int):
        """An empty text after the prompt, whose tokens are in the first slot."""
        # The last row goes on first, as where all rows hold the same text (see `BeamSearch.choose`).
        self.texts = [List[Int64]()]
        self.sums = [Float32(0)]
        self.slots = [beams - 1]
        self.n_ended = 0
        self.table = table
        self.capacity = capacity
        for slot in range(beams):
            for position in range(capacity):
                store(self._holder(slot, position), UInt16(0 if position < prompt else slot))

    @always_inline
    def _holder(self, slot: Int, position: Int) -> Int:
        return self.table + (slot * self.capacity + position) * 2

    def extend(
        mut self, number: Int, beams: Int, choice: Choice, first_row: Int, held: Int, results: Results
    ) -> Bool:
        """Go on with the best texts by a token each, and collect those that end; whether enough have.

        first_row: of the choice, that of the first slot. held: tokens that the caches hold.
        """
        var best = List[Best]()
        for slot in self.slots:
            best.append(choice.conclude(first_row + slot))
        var taken = List[Int](length=len(best), fill=0)
        var texts = List[List[Int64]]()
        var sums = List[Float32]()
        var sources = List[Int]()
        while len(texts) < beams:
            var source = -1
            var greatest = FORBIDDEN
            for i in range(len(best)):
                if taken[i] < choice.size:
                    var sum = self.sums[i] + best[i].logprob(taken[i])
                    if source < 0 or sum > greatest:
                        source = i
                        greatest = sum
            var token = best[source].token(taken[source])
            taken[source] += 1
            if token != choice.rules.end:
                var text = self.texts[source].copy()
                text.append(Int64(token))
                texts.append(text^)
                sums.append(greatest)
                sources.append(self.slots[source])
            elif self.n_ended < results.enough:
                results.put(number, self.n_ended, self.texts[source], greatest)
                self.n_ended += 1
        self.texts = texts^
        self.sums = sums^
        self._go_on(sources, beams, held)
        return self.n_ended == results.enough

    def _go_on(mut self, sources: List[Int], beams: Int, held: Int):
        """Give each text a slot: the first of those that go on from one takes it over, another one a free slot."""
        var is_wanted = List[Bool](length=beams, fill=False)
        for source in sources:
            is_wanted[source] = True
        var is_taken = List[Bool](length=beams, fill=False)
        var free = 0
        self.slots = List[Int]()
        for source in sources:
            var slot = source
            if is_taken[source]:
                while is_wanted[free]:
                    free += 1
                slot = free
                free += 1
                for position in range(held):
                    store(self._holder(slot, position), load[DType.uint16, 1](self._holder(source, position)))
            is_taken[source] = True
            self.slots.append(slot)


@extensibility.register("decoder_beams")
struct DecoderBeams:
    """Decode windows to the end of their texts by beam search.

    no_speech_probs: float32 [windows]. caches: uint8 [windows * beams, layers, bytes], updated. texts: int64 [windows,
    texts, n_text_ctx]: first those that end, of which there is room for `enough`, as many as have to; then the hypotheses
    that went on, the most probable first, as many as there are beams. lengths: int64 [windows, texts], -1 where no text
    has ended; without the end of the text. sums: float32 [windows, texts], of the tokens' natural log probabilities, the
    end of the text counted in. Other inputs are those of `decoder_greedy`. A window that has ended costs nothing.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int, n_vocab: Int
    ](
        no_speech_probs: OutputTensor[dtype=DType.float32, rank=1, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
        texts: MutableInputTensor[dtype=DType.int64, rank=3, ...],
        lengths: MutableInputTensor[dtype=DType.int64, rank=2, ...],
        sums: MutableInputTensor[dtype=DType.float32, rank=2, ...],
        prompts: InputTensor[dtype=DType.int64, rank=2, ...],
        padding: InputTensor[dtype=DType.int64, rank=1, ...],
        limits: InputTensor[dtype=DType.int64, rank=1, ...],
        forbidden: InputTensor[dtype=DType.int64, rank=1, ...],
        at_first: InputTensor[dtype=DType.int64, rank=1, ...],
        numbers: InputTensor[dtype=DType.int64, rank=1, ...],
        cross: InputTensor[dtype=DType.uint8, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
        positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var decoder = decoder_of[instructions, weight, audio](
            n_vocab, caches, cross, parameters, embedding, positional_embedding
        )
        var given = Prompts.of(prompts, padding, numbers, positional_embedding.shape()[0])
        var windows = given.windows
        var beams = caches.shape()[0] // windows
        var most = largest_of(Int(limits.unsafe_ptr()), windows)
        var results = Results(
            texts.shape()[1] - beams,
            texts.shape()[1],
            texts.shape()[2],
            Int(texts.unsafe_ptr()),
            Int(lengths.unsafe_ptr()),
            Int(sums.unsafe_ptr()),
        )

        var capacity = ceildiv(given.length + most, SIDE) * SIDE
        var rows = windows * beams
        var prompt = given.text(0, beams, 0, capacity, decoder.width)
        var last = Text(windows, beams, beams, 1, decoder.width, given.length + most, given.padding, 0, 0, capacity)
        var step_size = max(decoder.memory_size(prompt, 2), decoder.memory_size(last, 1))
        var unplaced = Choice.of(n_vocab, forbidden, at_first, numbers, beams + 1, max(2, beams) * windows, decoder.n_threads)
        var size = step_size + unplaced.memory_size() + rows * (capacity * 2 + 16) + windows * 8 + 64
        var room = alloc[UInt8](size, alignment=64)
        var choice = unplaced.placed(Int(room) + step_size)
        var table = Int(room) + step_size + choice.memory_size()
        var tokens = table + rows * capacity * 2
        var places = tokens + rows * 8
        var going = places + rows * 8  # numbers of the windows that go on
        var first_position = going + windows * 8
        store(first_position, Int64(0))
        var searches = List[Window]()
        for window in range(windows):
            store(going + window * 8, Int64(window))
            results.clear(window)
            searches.append(Window(beams, given.length, table + window * beams * capacity * 2, capacity))

        prompt.numbers = going
        prompt.table = table
        given.read(decoder, prompt, choice, Int(room), Int(no_speech_probs.unsafe_ptr()))
        var going_on = windows
        for step in range(most):
            var left = 0
            var held = given.length + step
            for index in range(going_on):
                var number = Int(load[DType.int64, 1](going + index * 8))
                # Of the prompt there is one row, and the window's text is in the last slot.
                var first_row = 2 * number + 2 - beams if step == 0 else index * beams
                var is_enough = searches[number].extend(number, beams, choice, first_row, held, results)
                if is_enough or step + 1 == Int(load[DType.int64, 1](Int(limits.unsafe_ptr()) + number * 8)):
                    for i in range(beams):
                        results.put(number, results.enough + i, searches[number].texts[i], searches[number].sums[i])
                    continue
                store(going + left * 8, Int64(number))
                for i in range(beams):
                    var row = left * beams + searches[number].slots[i]
                    store(tokens + row * 8, searches[number].texts[i][step])
                    store(places + row * 8, Int64(given.place(number, held)))
                    var text = Int(searches[number].texts[i].unsafe_ptr())
                    choice.allow(row, Allowed.after(text, step + 1, choice.rules, n_vocab))
                left += 1
            going_on = left
            if going_on == 0:
                break
            var text = Text(going_on, beams, beams, 1, decoder.width, held, given.padding, going, table, capacity)
            decoder.choose(text, tokens, places, first_position, 1, Int(room), choice)
        room.free()
