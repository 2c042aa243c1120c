"""Beam search from the prompts to the end of the texts in one operation, as decoding/beam.py has it.

The search of each window is sampling/beam_search.mojo's; here the hypotheses of all windows go through the decoder
together. A window that has ended leaves the batch: those that go on are computed as the first rows of the step.
backends/fused.py calls this by the graph `beams`.
"""

import extensibility
from extensibility import InputTensor, OutputTensor, _MutableInputTensor as MutableInputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv, max, min

from ..instructions.isa import Isa
from ..matmul.tiles import BLOCK
from ..memory.arena import Arena
from ..memory.views import View, row_of, view_of
from ..sampling.beam_search import BeamSearch, Candidates
from ..sampling.logit_rules import LogitRules
from ..sampling.sampler import Sampler
from .checks import expect_at_least, expect_equal, expect_multiple, expect_range
from .decoder import decoder_of
from .decoder_batch import DecoderBatch
from .prompts import NextTokens, PrefillMemory, Prompts
from .sampling_inputs import sampling_inputs_of

comptime NAME = "decoder_beams"
comptime MOST_BEAMS = 1 << 16  # slots that uint16 can name


@fieldwise_init
struct Memory(ImplicitlyCopyable):
    """What the operation needs beside a step's own memory."""

    var sampler: Sampler
    var prefill: PrefillMemory
    var next: NextTokens
    var texts: View[DType.int64]  # [windows * 2 * beams, tokens], see `BeamSearch`
    var cache_indirection: View[DType.uint16]  # [windows * beams, capacity], see `BeamSearch`

    @staticmethod
    def take(mut arena: Arena, prompts: Prompts, rules: LogitRules, beams: Int, n_threads: Int) -> Self:
        var windows, most = prompts.windows(), prompts.most_new_tokens()
        var rows = windows * max(2, beams)  # 2 of each prompt; later steps have one of each hypothesis
        return Self(
            Sampler.take(arena, rules, k=beams + 1, rows=rows, n_threads=n_threads),
            PrefillMemory.take(arena, prompts),
            NextTokens.take(arena, windows, beams),
            arena.take[DType.int64](windows * 2 * beams, most),
            arena.take[DType.uint16](windows * beams, ceildiv(prompts.length() + most, BLOCK) * BLOCK),
        )


@extensibility.register("decoder_beams")
struct DecoderBeams:
    """Decode windows to the end of their texts by beam search.

    no_speech_probs: float32 [windows], the probability of <|nospeech|> after <|startoftranscript|>.
    caches: uint8 [windows * beams, layers, bytes], of any content.
    tokens: int64 [windows, max_candidates + beams, n_text_ctx], written: first the texts that ended, of which
        `max_candidates` have to, then the hypotheses that went on, the most probable first.
    lengths: int64 [windows, max_candidates + beams], written: tokens of each text, its end not counted; -1 for no text.
    sum_logprobs: float32 [windows, max_candidates + beams], written: of the tokens' natural log probabilities, the end
        of the text counted in.
    The other inputs are those of `decoder_greedy`.
    """

    @staticmethod
    def execute[
        target: StaticString, instructions: StaticString, weight: DType, audio: Int, n_vocab: Int, layout: StaticString
    ](
        no_speech_probs: OutputTensor[dtype=DType.float32, rank=1, ...],
        caches: MutableInputTensor[dtype=DType.uint8, rank=3, ...],
        tokens: MutableInputTensor[dtype=DType.int64, rank=3, ...],
        lengths: MutableInputTensor[dtype=DType.int64, rank=2, ...],
        sum_logprobs: MutableInputTensor[dtype=DType.float32, rank=2, ...],
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
            tokens.shape()[2],
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
        var windows = given.windows()
        expect_multiple(NAME, "rows of the caches", caches.shape()[0], windows)
        expect_equal(NAME, "windows of cross", cross.shape()[0], windows)
        var beams = caches.shape()[0] // windows
        expect_range(NAME, "beams", beams, 1, min(n_vocab - 1, MOST_BEAMS))
        var n_texts = tokens.shape()[1]
        expect_at_least(NAME, "texts of a window", n_texts, beams)
        expect_equal(NAME, "windows of no_speech_probs", no_speech_probs.shape()[0], windows)
        expect_equal(NAME, "windows of tokens", tokens.shape()[0], windows)
        expect_equal(NAME, "windows of lengths", lengths.shape()[0], windows)
        expect_equal(NAME, "windows of sum_logprobs", sum_logprobs.shape()[0], windows)
        expect_equal(NAME, "texts of lengths", lengths.shape()[1], n_texts)
        expect_equal(NAME, "texts of sum_logprobs", sum_logprobs.shape()[1], n_texts)
        var most = given.most_new_tokens()
        decoder.check_capacity(NAME, given.length() + most - 1)

        var measured = Arena.measure()
        var unread = Memory.take(measured, given, rules, beams, decoder.n_threads)
        var prompt = given.batch(unread.next.active, beams, unread.cache_indirection, decoder.width)
        var last = DecoderBatch(
            windows,
            beams,
            beams,
            1,
            decoder.width,
            given.length() + most - 2,
            given.padding,
            unread.next.active,
            unread.cache_indirection,
        )
        var step_size = max(decoder.memory_size(prompt, 2), decoder.memory_size(last, 1))
        var arena = Arena.allocate(measured.used + step_size)
        var memory = Memory.take(arena, given, rules, beams, decoder.n_threads)
        var step_memory = arena.take[DType.uint8](1, step_size)
        var sampler, next = memory.sampler, memory.next
        next.begin()
        var searches = List[BeamSearch]()
        for window in range(windows):
            var candidates = Candidates(
                view_of(tokens).rows_from(window * n_texts, n_texts),
                view_of(lengths).row(window),
                view_of(sum_logprobs).row(window),
            )
            searches.append(
                BeamSearch(
                    beams,
                    given.length(),
                    memory.texts.rows_from(window * 2 * beams, 2 * beams),
                    memory.cache_indirection.rows_from(window * beams, beams),
                    candidates,
                )
            )

        prompt = given.batch(next.active, beams, memory.cache_indirection, decoder.width)
        given.prefill(decoder, prompt, sampler, memory.prefill, step_memory, row_of(no_speech_probs))
        var n_active = windows
        for step in range(most):
            var n_next = 0
            var cache_length = given.length() + step
            for index in range(n_active):
                var window = Int(next.active[index])
                # Of the prompt there is one row, and the window's text is in the last slot.
                var first_row = 2 * window + 2 - beams if step == 0 else index * beams
                var is_enough = searches[window].extend(sampler, first_row, cache_length)
                if is_enough or step + 1 == Int(given.max_new_tokens[window]):
                    searches[window].finish()
                    continue
                next.active[n_next] = Int64(window)
                for i in range(beams):
                    var row = n_next * beams + searches[window].slots[i]
                    var text = searches[window].text(i)
                    next.tokens.store(row, 0, text[step])
                    next.position_ids.store(row, 0, Int64(given.position_id(window, cache_length)))
                    sampler.allow(row, rules.allowed_after(text))
                n_next += 1
            n_active = n_next
            if n_active == 0:
                break
            var batch = DecoderBatch(
                n_active,
                beams,
                beams,
                1,
                decoder.width,
                cache_length,
                given.padding,
                next.active,
                memory.cache_indirection,
            )
            decoder.sample(batch, next.tokens, next.position_ids, next.positions, step_memory, sampler)
        arena.free()
