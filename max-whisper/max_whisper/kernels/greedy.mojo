"""Greedy decoding to the end of the texts in one operation."""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, max, min
from std.memory import alloc

from .caches import Text
from .choice import Choice, Rules
from .decoder import decoder_of
from .tiles import load, store


@extensibility.register("decoder_greedy")
struct DecoderGreedy:
    """Decode windows to the end of their texts, always with the most probable token; of equal ones the first.

    result: int64 [windows, n_text_ctx], the tokens chosen, the end of the text last where it was; what follows is of no
    meaning. counts: int64 [windows], tokens chosen. sums: float64 [windows], of their natural log probabilities.
    logits: float32 [windows, n_vocab], after the tokens that the caches hold. held, padding: as in `decoder_step`.
    limits: int64 [windows], the most tokens to choose. forbidden: int64 [tokens], those that never come; at_first: those
    that do not come first. rules: int64 [4], as `Rules` reads them. A window that has ended costs nothing.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int
    ](
        result: OutputTensor[dtype=DType.int64, rank=2, ...],
        counts: OutputTensor[dtype=DType.int64, rank=1, ...],
        sums: OutputTensor[dtype=DType.float64, rank=1, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
        logits: InputTensor[dtype=DType.float32, rank=2, ...],
        held: InputTensor[dtype=DType.int64, rank=1, ...],
        padding: InputTensor[dtype=DType.int64, rank=1, ...],
        limits: InputTensor[dtype=DType.int64, rank=1, ...],
        forbidden: InputTensor[dtype=DType.int64, rank=1, ...],
        at_first: InputTensor[dtype=DType.int64, rank=1, ...],
        rules: InputTensor[dtype=DType.int64, rank=1, ...],
        cross: InputTensor[dtype=DType.uint8, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
        positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var windows = logits.shape()[0]
        var n_vocab = logits.shape()[1]
        var room_for_tokens = result.shape()[1]
        var limit = 0
        for window in range(windows):
            limit = max(limit, Int(load[DType.int64, 1](Int(limits.unsafe_ptr()) + window * 8)))
        var decoder = decoder_of[instructions, weight, audio](
            n_vocab, caches, cross, parameters, embedding, positional_embedding
        )
        var before = Int(held.unsafe_ptr().unsafe_load())
        var chosen = Int(result.unsafe_ptr())
        var chosen_counts = Int(counts.unsafe_ptr())
        var totals = Int(sums.unsafe_ptr())
        var context = positional_embedding.shape()[0]
        var choice = Choice(
            n_vocab,
            Int(forbidden.unsafe_ptr()),
            forbidden.shape()[0],
            Int(at_first.unsafe_ptr()),
            at_first.shape()[0],
            Rules.at(Int(rules.unsafe_ptr())),
        )

        # All of a step, at its largest: every window with as many keys as there can be.
        var largest = Text(windows, 1, 1, decoder.width, before + limit, Int(padding.unsafe_ptr()), 0)
        var step_size = decoder.memory_size(largest)
        var row_size = ceildiv(n_vocab, 16) * 64
        var room = alloc[UInt8](step_size + windows * (row_size + 24) + 64, alignment=64)
        var rows = Int(room) + step_size
        var numbers = rows + windows * row_size  # of the windows that go on
        var tokens = numbers + windows * 8
        var places = tokens + windows * 8
        var first_position = places + windows * 8
        store(first_position, Int64(0))
        var source = Int(logits.unsafe_ptr())
        for window in range(windows):
            store(numbers + window * 8, Int64(window))
            store(chosen_counts + window * 8, Int64(0))
            store(totals + window * 8, Float64(0))
            for i in range(n_vocab):
                store(rows + (window * n_vocab + i) * 4, load[DType.float32, 1](source + (window * n_vocab + i) * 4))

        var going_on = windows
        for step in range(limit):
            def choosing(row: Int) {imm}:
                var number = Int(load[DType.int64, 1](numbers + row * 8))
                var logprob = Float64(0)
                var token = choice.choose(rows + row * n_vocab * 4, chosen + number * room_for_tokens * 8, step, logprob)
                store(chosen + (number * room_for_tokens + step) * 8, Int64(token))
                store(chosen_counts + number * 8, Int64(step + 1))
                store(totals + number * 8, load[DType.float64, 1](totals + number * 8) + logprob)

            sync_parallelize(choosing, going_on)
            var left = 0
            for row in range(going_on):
                var number = Int(load[DType.int64, 1](numbers + row * 8))
                var token = load[DType.int64, 1](chosen + (number * room_for_tokens + step) * 8)
                var may_go_on = step + 1 < Int(load[DType.int64, 1](Int(limits.unsafe_ptr()) + number * 8))
                if Int(token) != choice.rules.end and may_go_on:
                    var pad = Int(load[DType.int64, 1](Int(padding.unsafe_ptr()) + number * 8))
                    store(numbers + left * 8, Int64(number))
                    store(tokens + left * 8, token)
                    store(places + left * 8, Int64(min(before + step - pad, context - 1)))
                    left += 1
            going_on = left
            if going_on == 0:
                break
            var text = Text(going_on, 1, 1, decoder.width, before + step, Int(padding.unsafe_ptr()), numbers)
            decoder.logits(text, tokens, places, first_position, 1, Int(room), rows)
        room.free()
