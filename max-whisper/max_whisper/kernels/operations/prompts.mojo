"""The prompts that windows are decoded from, and the first pass over them, before a token is chosen.

operations/greedy.mojo and beams.mojo call this. It is the first step of DecodingTask._main_loop in whisper/decoding.py: the
prompt's tokens go through the decoder together, and the logits after <|startoftranscript|> give the probability of no speech.
"""

from std.math import exp, max, min

from ..instructions.isa import Isa
from ..memory.arena import Arena
from ..memory.views import Bytes, View
from ..sampling.logit_rules import AllowedTokens, check_token
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

    def check(self, operation: StaticString, n_vocab: Int, room: Int) raises:
        """That the prompts are of the vocabulary, and that with the tokens that may follow they fit.

        room: tokens that the result has room for in each text.
        """
        var windows, length = self.windows(), self.length()
        if windows == 0 or length == 0:
            raise Error(operation, ": prompts is int64 [", windows, ", ", length, "]; it must have a window and a token")
        if self.padding.columns != windows or self.max_new_tokens.columns != windows:
            raise Error(
                operation, ": prompts are of ", windows, " windows, padding of ", self.padding.columns,
                " and max_new_tokens of ", self.max_new_tokens.columns, "; they must be of as many",
            )
        if self.sot_index < 0 or self.sot_index >= length:
            raise Error(
                operation, ": sot_index is ", self.sot_index, "; it must be an index into prompts of ", length, " tokens",
            )
        check_token(operation, "no_speech_token", self.no_speech_token, n_vocab)
        for window in range(windows):
            for i in range(length):
                check_token(operation, "a token of prompts", Int(self.tokens.load(window, i)), n_vocab)
            var padding, most = Int(self.padding[window]), Int(self.max_new_tokens[window])
            if padding < 0 or padding > self.sot_index:
                raise Error(
                    operation, ": padding[", window, "] is ", padding, "; it must be 0 to sot_index, ", self.sot_index,
                )
            if most < 1 or most > room:
                raise Error(
                    operation, ": max_new_tokens[", window, "] is ", most, "; it must be 1 to ", room,
                    ", which the texts have room for",
                )
            # The last token that is chosen is not read again.
            if length - padding + most - 1 > self.n_text_ctx:
                raise Error(
                    operation, ": window ", window, " has a prompt of ", length - padding, " tokens and max_new_tokens ", most,
                    "; together they must be at most ", self.n_text_ctx + 1, ", one more than there are position ids",
                )

    def batch(self, active: View[DType.int64], slots: Int, cache_indirection: View[DType.uint16], width: Int) -> DecoderBatch:
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

        The sampler's row 2 * window has those after <|startoftranscript|>, row 2 * window + 1 those of the first token of the
        window's text. no_speech_probs: [1, windows], set to the probability of <|nospeech|> after <|startoftranscript|>.
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
