"""Greedy decoding from the prompts to the end of the texts in one operation."""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from std.math import log, max
from std.memory import alloc

from .caches import Text
from .choice import Allowed, Choice
from .decoder import decoder_of
from .prompt import Prompts, largest_of
from .tiles import load, store


@extensibility.register("decoder_greedy")
struct DecoderGreedy:
    """Decode windows to the end of their texts, always with the most probable token; of equal ones the first.

    result: int64 [windows, n_text_ctx], the tokens chosen, the end of the text last where it was; what follows is of no
    meaning. counts: int64 [windows], tokens chosen. sums: float64 [windows], of their natural log probabilities.
    no_speech_probs: float32 [windows]. prompts: int64 [windows, length]. padding: int64 [windows], how many of the first
    tokens stand for nothing. limits: int64 [windows], the most tokens to choose. forbidden: int64 [tokens], ascending, those
    that never come; at_first: those that do not come first. numbers: int64 [5], which token of the prompts is
    <|startoftranscript|>, the token of no speech, and what `Rules` reads. A window that has ended costs nothing.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int, n_vocab: Int
    ](
        result: OutputTensor[dtype=DType.int64, rank=2, ...],
        counts: OutputTensor[dtype=DType.int64, rank=1, ...],
        sums: OutputTensor[dtype=DType.float64, rank=1, ...],
        no_speech_probs: OutputTensor[dtype=DType.float32, rank=1, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
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
        var most = largest_of(Int(limits.unsafe_ptr()), windows)
        var chosen = Int(result.unsafe_ptr())
        var room_for_tokens = result.shape()[1]

        var prompt = given.text(0, 1, 0, 0, decoder.width)
        var last = Text(windows, 1, 1, 1, decoder.width, given.length + most, given.padding, 0, 0, 0)
        var step_size = max(decoder.memory_size(prompt, 2), decoder.memory_size(last, 1))
        var unplaced = Choice.of(n_vocab, forbidden, at_first, numbers, 1, 2 * windows, decoder.n_threads)
        var room = alloc[UInt8](step_size + unplaced.memory_size() + windows * 24 + 64, alignment=64)
        var choice = unplaced.placed(Int(room) + step_size)
        var going = Int(room) + step_size + choice.memory_size()  # numbers of the windows that go on
        var tokens = going + windows * 8
        var places = tokens + windows * 8
        var first_position = places + windows * 8
        store(first_position, Int64(0))
        for window in range(windows):
            store(going + window * 8, Int64(window))
            store(Int(sums.unsafe_ptr()) + window * 8, Float64(0))

        prompt.numbers = going
        given.read(decoder, prompt, choice, Int(room), Int(no_speech_probs.unsafe_ptr()))
        var going_on = windows
        for step in range(most):
            var left = 0
            for row in range(going_on):
                var number = Int(load[DType.int64, 1](going + row * 8))
                var best = choice.conclude(2 * row + 1 if step == 0 else row)
                var text = chosen + number * room_for_tokens * 8
                store(text + step * 8, Int64(best.token(0)))
                store(Int(counts.unsafe_ptr()) + number * 8, Int64(step + 1))
                var sum = Int(sums.unsafe_ptr()) + number * 8
                store(sum, load[DType.float64, 1](sum) - Float64(log(best.total())))
                var may_go_on = step + 1 < Int(load[DType.int64, 1](Int(limits.unsafe_ptr()) + number * 8))
                if best.token(0) != choice.rules.end and may_go_on:
                    store(going + left * 8, Int64(number))
                    store(tokens + left * 8, Int64(best.token(0)))
                    store(places + left * 8, Int64(given.place(number, given.length + step)))
                    choice.allow(left, Allowed.after(text, step + 1, choice.rules, n_vocab))
                    left += 1
            going_on = left
            if going_on == 0:
                break
            var text = Text(going_on, 1, 1, 1, decoder.width, given.length + step, given.padding, going, 0, 0)
            decoder.choose(text, tokens, places, first_position, 1, Int(room), choice)
        room.free()
