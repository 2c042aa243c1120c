"""Greedy decoding from the prompts to the end of the texts in one operation, as decoding/greedy.py has it.

Each step takes the most probable token that the rules allow. A window that has ended leaves the batch: those that go on
are computed as the first rows of the step. backends/fused.py calls this by the graph `greedy`.
"""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from std.math import log, max

from ..instructions.isa import Isa
from ..memory.arena import Arena
from ..memory.views import View, row_of, view_of
from ..sampling.logit_rules import LogitRules
from ..sampling.sampler import Sampler
from .checks import expect_equal
from .decoder import decoder_of
from .decoder_batch import DecoderBatch
from .prompts import NextTokens, PrefillMemory, Prompts
from .sampling_inputs import sampling_inputs_of

comptime NAME = "decoder_greedy"


@fieldwise_init
struct Memory(ImplicitlyCopyable):
    """What the operation needs beside a step's own memory."""

    var sampler: Sampler
    var prefill: PrefillMemory
    var next: NextTokens

    @staticmethod
    def take(mut arena: Arena, prompts: Prompts, rules: LogitRules, n_threads: Int) -> Self:
        var rows = 2 * prompts.windows()  # of the prompts; later steps have one of each window
        return Self(
            Sampler.take(arena, rules, k=1, rows=rows, n_threads=n_threads),
            PrefillMemory.take(arena, prompts),
            NextTokens.take(arena, prompts.windows(), 1),
        )


@extensibility.register("decoder_greedy")
struct DecoderGreedy:
    """Decode windows to the end of their texts, always with the most probable token; of equal ones the first.

    tokens: int64 [windows, n_text_ctx], the tokens chosen, the end of the text last where it came; the rest has no
        meaning.
    lengths: int64 [windows], tokens chosen.
    sum_logprobs: float64 [windows], of the tokens' natural log probabilities.
    no_speech_probs: float32 [windows], the probability of <|nospeech|> after <|startoftranscript|>.
    caches: uint8 [windows, layers, bytes], of any content.
    prompts: int64 [windows, length].
    padding: int64 [windows], how many of a prompt's first tokens stand for nothing.
    max_new_tokens: int64 [windows], the most tokens that are chosen.
    suppress_tokens: int64 [n], ascending, tokens that never come.
    begin_suppress_tokens: int64 [n], ascending, tokens that do not come first.
    sot_index: which token of each prompt is <|startoftranscript|>.
    no_speech_token: <|nospeech|>.
    end_of_text: the token that ends a text.
    first_timestamp: -1 where there are no rules for timestamps.
    last_initial_timestamp: the latest timestamp that a text may begin with; -1 where there is no limit.
    The other inputs are those of `decoder_step`.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int, n_vocab: Int, layout: StaticString
    ](
        tokens: OutputTensor[dtype=DType.int64, rank=2, ...],
        lengths: OutputTensor[dtype=DType.int64, rank=1, ...],
        sum_logprobs: OutputTensor[dtype=DType.float64, rank=1, ...],
        no_speech_probs: OutputTensor[dtype=DType.float32, rank=1, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
        prompts: InputTensor[dtype=DType.int64, rank=2, ...],
        padding: InputTensor[dtype=DType.int64, rank=1, ...],
        max_new_tokens: InputTensor[dtype=DType.int64, rank=1, ...],
        suppress_tokens: InputTensor[dtype=DType.int64, rank=1, ...],
        begin_suppress_tokens: InputTensor[dtype=DType.int64, rank=1, ...],
        sot_index: Int64,
        no_speech_token: Int64,
        end_of_text: Int64,
        first_timestamp: Int64,
        last_initial_timestamp: Int64,
        cross: InputTensor[dtype=DType.uint8, rank=3, ...],
        parameters: InputTensor[dtype=DType.uint8, rank=2, ...],
        offsets: InputTensor[dtype=DType.int64, rank=1, ...],
        embedding: InputTensor[dtype=DType.uint8, rank=1, ...],
        positional_embedding: InputTensor[dtype=DType.float32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        var decoder = decoder_of[Isa.named[instructions](), weight, audio, layout](
            NAME, n_vocab, caches, cross, parameters, offsets, embedding, positional_embedding
        )
        var inputs = sampling_inputs_of(
            NAME,
            n_vocab,
            positional_embedding.shape()[0],
            tokens.shape()[1],
            prompts,
            padding,
            max_new_tokens,
            suppress_tokens,
            begin_suppress_tokens,
            sot_index,
            no_speech_token,
            end_of_text,
            first_timestamp,
            last_initial_timestamp,
        )
        var given, rules = inputs.prompts, inputs.rules
        var chosen = view_of(tokens)
        var lengths_row = row_of(lengths)
        var sums = row_of(sum_logprobs)
        var windows = given.windows()
        expect_equal(NAME, "rows of the caches", caches.shape()[0], windows)
        expect_equal(NAME, "windows of cross", cross.shape()[0], windows)
        expect_equal(NAME, "windows of the results", chosen.rows, windows)
        var most = given.most_new_tokens()
        decoder.check_capacity(NAME, given.length() + most - 1)

        var measured = Arena.measure()
        var unread = Memory.take(measured, given, rules, decoder.n_threads)
        var no_indirection = View[DType.uint16].empty()
        var prompt = given.batch(unread.next.active, 1, no_indirection, decoder.width)
        var last = DecoderBatch(
            windows, 1, 1, 1, prompt.width, given.length() + most - 2, given.padding, prompt.active, no_indirection
        )
        var step_size = max(decoder.memory_size(prompt, 2), decoder.memory_size(last, 1))
        var arena = Arena.allocate(measured.used + step_size)
        var memory = Memory.take(arena, given, rules, decoder.n_threads)
        var step_memory = arena.take[DType.uint8](1, step_size)
        var sampler, next = memory.sampler, memory.next
        sums.fill(0)
        next.begin()

        prompt = given.batch(next.active, 1, no_indirection, decoder.width)
        given.prefill(decoder, prompt, sampler, memory.prefill, step_memory, row_of(no_speech_probs))
        var n_active = windows
        for step in range(most):
            var n_next = 0
            for row in range(n_active):
                var window = Int(next.active[row])
                var top = sampler.top_k(2 * row + 1 if step == 0 else row)
                chosen.store(window, step, Int64(top.token(0)))
                lengths_row[window] = Int64(step + 1)
                sums[window] = sums[window] - Float64(log(top.sum_exp()))
                if top.token(0) != rules.end_of_text and step + 1 < Int(given.max_new_tokens[window]):
                    next.active[n_next] = Int64(window)
                    next.tokens.store(n_next, 0, Int64(top.token(0)))
                    next.position_ids.store(n_next, 0, Int64(given.position_id(window, given.length() + step)))
                    sampler.allow(n_next, rules.allowed_after(chosen.part(window, 0, 1, step + 1)))
                    n_next += 1
            n_active = n_next
            if n_active == 0:
                break
            var batch = DecoderBatch(
                n_active, 1, 1, 1, decoder.width, given.length() + step, given.padding, next.active, no_indirection
            )
            decoder.sample(batch, next.tokens, next.position_ids, next.positions, step_memory, sampler)
        arena.free()
