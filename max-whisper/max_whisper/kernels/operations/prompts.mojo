"""The prompts that windows are decoded from, and the first pass over them, before a token is chosen.

operations/greedy.mojo and beams.mojo call this. It is the first step of DecodingTask._main_loop in whisper/decoding.py:
the prompt's tokens go through the decoder together, and the logits after <|startoftranscript|> give the probability of
no speech.
"""

from std.math import exp, max, min

from ..instructions.isa import Isa
from ..memory.arena import Arena
from ..memory.views import Bytes, View
from ..sampling.logit_rules import AllowedTokens
from ..sampling.sampler import TEXT, TIMESTAMPS, Sampler
from .decoder import Decoder
from .decoder_batch import DecoderBatch


@fieldwise_init
struct Prompts(ImplicitlyCopyable):
    """The tokens before the texts of windows, and how many tokens may follow."""

    var tokens: View[DType.int64]  # [windows, length]
    var padding: View[DType.int64]  # [1, windows]: how many of a window's first tokens stand for nothing
    var max_new_tokens: View[DType.int64]  # [1, windows]
    var sot_index: Int  # which token of each prompt is <|startoftranscript|>
    var no_speech_token: Int  # <|nospeech|>
    var n_text_ctx: Int  # position ids that the model has

    @always_inline
    def windows(self) -> Int:
        return self.tokens.rows

    @always_inline
    def length(self) -> Int:
        return self.tokens.columns

    def most_new_tokens(self) -> Int:
        """The most tokens that may follow any of the prompts."""
        var most = 0
        for window in range(self.windows()):
            most = max(most, Int(self.max_new_tokens[window]))
        return most

    @always_inline
    def position_id(self, window: Int, position: Int) -> Int:
        """The position id in a window's text of the token at a position of the caches."""
        return max(0, min(position - Int(self.padding[window]), self.n_text_ctx - 1))

    def batch(
        self, active: View[DType.int64], slots: Int, cache_indirection: View[DType.uint16], width: Int
    ) -> DecoderBatch:
        """The prompts as a step: one hypothesis for each window, the caches empty."""
        return DecoderBatch(self.windows(), 1, slots, self.length(), width, 0, self.padding, active, cache_indirection)

    def prefill[
        isa: Isa, weight: DType
    ](
        self,
        decoder: Decoder[isa, weight],
        batch: DecoderBatch,
        sampler: Sampler,
        memory: PrefillMemory,
        step_memory: Bytes,
        no_speech_probs: View[DType.float32],
    ):
        """Append the prompts to the caches, and give the logits after them to the sampler.

        The sampler's row 2 * window has those after <|startoftranscript|>, row 2 * window + 1 those of the first token
        of the window's text. no_speech_probs: [1, windows], set to the probability of <|nospeech|> after
        <|startoftranscript|>.
        """
        memory.positions[0] = Int64(self.sot_index)
        memory.positions[1] = Int64(self.length() - 1)
        for window in range(self.windows()):
            for i in range(self.length()):
                memory.position_ids.store(window, i, Int64(self.position_id(window, i)))
            # The second range is the one token whose probability is asked for.
            var end = self.no_speech_token + 1
            var all = AllowedTokens(0, decoder.n_vocab, self.no_speech_token, end, False, False)
            sampler.allow(2 * window, all)
            sampler.allow(2 * window + 1, sampler.rules.allowed_at_begin())
        decoder.sample(batch, self.tokens, memory.position_ids, memory.positions, step_memory, sampler)
        for window in range(self.windows()):
            var all = sampler.merged(2 * window, TEXT)
            var logit = sampler.merged(2 * window, TIMESTAMPS).greatest()
            no_speech_probs[window] = exp(logit - all.greatest()) / all.sum_exp()


@fieldwise_init
struct PrefillMemory(ImplicitlyCopyable):
    """What `prefill` tells the decoder beside the prompts' tokens."""

    var position_ids: View[DType.int64]  # [windows, length]
    var positions: View[DType.int64]  # [1, 2]: the tokens after which logits are wanted

    @staticmethod
    def take(mut arena: Arena, prompts: Prompts) -> Self:
        return Self(arena.take[DType.int64](prompts.windows(), prompts.length()), arena.take[DType.int64](1, 2))


@fieldwise_init
struct NextTokens(ImplicitlyCopyable):
    """What a step after the prompts tells the decoder: a token for each hypothesis of the windows that go on."""

    var active: View[DType.int64]  # [1, windows]: the numbers of the windows that go on, which are first
    var tokens: View[DType.int64]  # [windows * beams, 1]
    var position_ids: View[DType.int64]  # [windows * beams, 1]
    var positions: View[DType.int64]  # [1, 1]: after the only token of each logits are wanted

    @staticmethod
    def take(mut arena: Arena, windows: Int, beams: Int) -> Self:
        return Self(
            arena.take[DType.int64](1, windows),
            arena.take[DType.int64](windows * beams, 1),
            arena.take[DType.int64](windows * beams, 1),
            arena.take[DType.int64](1, 1),
        )

    def begin(self):
        """All windows go on."""
        for window in range(self.active.columns):
            self.active[window] = Int64(window)
        self.positions[0] = 0
