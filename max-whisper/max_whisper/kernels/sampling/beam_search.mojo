"""Beam search in one window, as decoding/beam.py has it (BeamSearchDecoder of whisper/decoding.py).

Each step extends the hypotheses by a token. Of all extensions the `beams` most probable that do not end the text go on.
The more probable ones that end it are collected until there are `max_candidates`.

A hypothesis has a slot of the caches, to which the keys and values of its next token are written. `cache_indirection`
names for each hypothesis the slot that holds each position. So a hypothesis that goes on from the text of another
copies a row of numbers, not keys and values (the cache indirection of NVIDIA's FasterTransformer and TensorRT-LLM).

operations/beams.mojo calls this.
"""

from ..memory.views import View
from .sampler import Sampler
from .top_k import SUPPRESSED, TopK


@fieldwise_init
struct Candidates(ImplicitlyCopyable):
    """The texts of a window that the operation gives back: room for those that end, then for those that go on."""

    var tokens: View[DType.int64]  # [max_candidates + beams, n_text_ctx]
    var lengths: View[DType.int64]  # [1, max_candidates + beams]; -1 where there is no text
    var sum_logprobs: View[DType.float32]  # [1, max_candidates + beams]

    def put(self, i: Int, text: View[DType.int64], sum_logprob: Float32):
        for j in range(text.columns):
            self.tokens.store(i, j, text[j])
        self.lengths[i] = Int64(text.columns)
        self.sum_logprobs[i] = sum_logprob


struct BeamSearch(Copyable, Movable):
    """The hypotheses of a window, the most probable first. In the first step there is one, the empty text."""

    var beams: Int
    var max_candidates: Int  # texts that have to end
    var n_finished: Int  # texts that have ended
    var length: Int  # tokens of each hypothesis
    var tokens: View[DType.int64]  # [2 * beams, tokens]: the hypotheses' texts, and room for those of the next step
    var first: Int  # row of the first hypothesis: 0 or `beams`
    var sum_logprobs: List[Float32]
    var slots: List[Int]  # of each hypothesis
    var cache_indirection: View[DType.uint16]  # [beams, capacity]: by a hypothesis' slot, that of each position
    var candidates: Candidates

    def __init__(
        out self,
        beams: Int,
        prompt_length: Int,
        tokens: View[DType.int64],
        cache_indirection: View[DType.uint16],
        candidates: Candidates,
    ):
        """An empty text after a prompt whose tokens are in the first slot."""
        self.beams = beams
        self.max_candidates = candidates.tokens.rows - beams
        self.n_finished = 0
        self.length = 0
        self.tokens = tokens
        self.first = 0
        self.sum_logprobs = [Float32(0)]
        # The last row goes on first, as where all rows hold the same text (`BeamSearch.choose`, decoding/beam.py).
        self.slots = [beams - 1]
        self.cache_indirection = cache_indirection
        self.candidates = candidates
        for slot in range(beams):
            for position in range(cache_indirection.columns):
                cache_indirection.store(slot, position, UInt16(0 if position < prompt_length else slot))
        candidates.lengths.fill(-1)

    @always_inline
    def text(self, hypothesis: Int) -> View[DType.int64]:
        """The tokens of a hypothesis: [1, length]."""
        return self.tokens.part(self.first + hypothesis, 0, 1, self.length)

    def extend(mut self, sampler: Sampler, first_row: Int, cache_length: Int) -> Bool:
        """Go on with the best hypotheses by a token each, and collect those that end; whether enough have ended.

        first_row: the sampler's, of the first slot. cache_length: positions that the caches hold.
        """
        var tops = List[TopK]()
        for slot in self.slots:
            tops.append(sampler.top_k(first_row + slot))
        var taken = List[Int](length=len(tops), fill=0)
        var next = self.beams - self.first
        var sum_logprobs = List[Float32]()
        var sources = List[Int]()  # the slots that the next hypotheses go on from
        while len(sources) < self.beams:
            var best = -1
            var greatest = SUPPRESSED
            for i in range(len(tops)):
                if taken[i] < sampler.k:
                    var sum = self.sum_logprobs[i] + tops[i].logprob(taken[i])
                    if best < 0 or sum > greatest:
                        best = i
                        greatest = sum
            debug_assert(best >= 0, "fewer tokens than beams and the end of the text to choose from")
            var token = tops[best].token(taken[best])
            taken[best] += 1
            if token != sampler.rules.end_of_text:
                var text = self.text(best)
                for i in range(self.length):
                    self.tokens.store(next + len(sources), i, text[i])
                self.tokens.store(next + len(sources), self.length, Int64(token))
                sum_logprobs.append(greatest)
                sources.append(self.slots[best])
            elif self.n_finished < self.max_candidates:
                self.candidates.put(self.n_finished, self.text(best), greatest)
                self.n_finished += 1
        self.first = next
        self.length += 1
        self.sum_logprobs = sum_logprobs^
        self._take_slots(sources, cache_length)
        return self.n_finished == self.max_candidates

    def finish(self):
        """Give back the hypotheses that went on, behind the texts that have ended."""
        for i in range(self.beams):
            self.candidates.put(self.max_candidates + i, self.text(i), self.sum_logprobs[i])

    def _take_slots(mut self, sources: List[Int], cache_length: Int):
        """Give each hypothesis a slot: the first that goes on from a slot keeps it, others take free ones."""
        var is_wanted = List[Bool](length=self.beams, fill=False)
        for source in sources:
            is_wanted[source] = True
        var is_taken = List[Bool](length=self.beams, fill=False)
        var free = 0
        self.slots = List[Int]()
        for source in sources:
            var slot = source
            if is_taken[source]:
                while is_wanted[free]:
                    free += 1
                slot = free
                free += 1
                for position in range(cache_length):
                    self.cache_indirection.store(slot, position, self.cache_indirection.load(source, position))
            is_taken[source] = True
            self.slots.append(slot)
