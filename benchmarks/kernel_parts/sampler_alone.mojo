"""The sampler by itself, of logits that are given and not computed chunk by chunk."""

import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import min

from ..memory.arena import Arena
from ..memory.team import Team, in_team
from ..memory.views import row_of, view_of
from ..operations.checks import expect_equal
from ..sampling.logit_rules import LogitRules
from ..sampling.sampler import CHUNK, Sampler

comptime NAME = "sampler_alone"


@extensibility.register("sampler_alone")
struct SamplerAlone:
    """The most probable tokens, int64 [rows, k], and their natural log probabilities, float32 [rows, k].

    logits: float32 [rows, n_vocab].
    texts: int64 [rows, capacity], the tokens so far.
    lengths: int64 [rows], of the texts.
    The other inputs are those of `decoder_greedy`.
    """

    @staticmethod
    def execute[
        target: StaticString
    ](
        tokens: OutputTensor[dtype=DType.int64, rank=2, ...],
        logprobs: OutputTensor[dtype=DType.float32, rank=2, ...],
        logits: InputTensor[dtype=DType.float32, rank=2, ...],
        texts: InputTensor[dtype=DType.int64, rank=2, ...],
        lengths: InputTensor[dtype=DType.int64, rank=1, ...],
        suppress_tokens: InputTensor[dtype=DType.int64, rank=1, ...],
        begin_suppress_tokens: InputTensor[dtype=DType.int64, rank=1, ...],
        end_of_text: Int64,
        first_timestamp: Int64,
        last_initial_timestamp: Int64,
        ctx: DeviceContext,
    ) raises:
        var given = view_of(logits)
        var rows, n_vocab = given.rows, given.columns
        expect_equal(NAME, "rows of texts", texts.shape()[0], rows)
        expect_equal(NAME, "rows of lengths", lengths.shape()[0], rows)
        var rules = LogitRules(
            n_vocab,
            row_of(suppress_tokens),
            row_of(begin_suppress_tokens),
            Int(end_of_text),
            Int(first_timestamp),
            Int(last_initial_timestamp),
        )
        var k = tokens.shape()[1]
        var n_threads = parallelism_level(None)
        var measured = Arena.measure()
        _ = Sampler.take(measured, rules, k=k, rows=rows, n_threads=n_threads)
        var arena = Arena.allocate(measured.used)
        var sampler = Sampler.take(arena, rules, k=k, rows=rows, n_threads=n_threads)
        for row in range(rows):
            var length = Int(row_of(lengths)[row])
            if length == 0:
                sampler.allow(row, rules.allowed_at_begin())
            else:
                sampler.allow(row, rules.allowed_after(view_of(texts).part(row, 0, 1, length)))

        def add_chunks(mut team: Team) {imm}:
            var thread = team.thread

            def add_chunk(chunk: Int) {imm}:
                var first = chunk * CHUNK
                var target = sampler.chunk_logits(thread)
                for row in range(rows):
                    for i in range(min(CHUNK, n_vocab - first)):
                        target.store(row, i, given.load(row, first + i))
                sampler.add_chunk(thread, rows, chunk)

            team.share(sampler.chunks(), add_chunk)

        in_team(n_threads, 1, add_chunks)
        for row in range(rows):
            var top = sampler.top_k(row)
            for i in range(k):
                view_of(tokens).store(row, i, Int64(top.token(i)))
                view_of(logprobs).store(row, i, top.logprob(i))
        arena.free()
