"""The k greatest of some logits, and the sum of exponentials that a softmax over all of them divides by.

Each chunk of a vocabulary is passed over once. Of a chunk are kept its k greatest logits and, with m the greatest,
    s = sum over its tokens t of e^(logit[t] - m).
Two chunks are merged (the online softmax of Milakov and Gimelshein 2018):
    m = max(m1, m2) and s = s1 e^(m1 - m) + s2 e^(m2 - m).
So logits are never all in memory. sampler.mojo calls this.
"""

from std.math import ceildiv, log, min

from ..instructions.elementwise import Floats, exponential, larger
from ..memory.views import Bytes, View

comptime SUPPRESSED = Float32.MIN  # minus infinity: the logit of a token that may not come


@fieldwise_init
struct TopK(ImplicitlyCopyable):
    """The `k` greatest logits of some tokens, descending; of equal ones the first token's first.

    There are fewer than `k` of fewer tokens.
    """

    var k: Int
    var counts: View[DType.int64]  # [1, 1]: how many there are
    var tokens: View[DType.int64]  # [1, k]
    var sums: View[DType.float32]  # [1, 1]: the sum of e to each logit of all tokens less the greatest
    var logits: View[DType.float32]  # [1, k]

    @staticmethod
    def size(k: Int) -> Int:
        """The bytes that one takes: whole lines of the cache, so that threads do not write to the same ones."""
        return ceildiv(12 + k * 12, 64) * 64

    @staticmethod
    @always_inline
    def of(record: Bytes, k: Int) -> Self:
        """The one in a row of `size` bytes."""
        return Self(
            k,
            record.columns_from(0, 8).bits[DType.int64](),
            record.columns_from(8, 8 * k).bits[DType.int64](),
            record.columns_from(8 + 8 * k, 4).bits[DType.float32](),
            record.columns_from(12 + 8 * k, 4 * k).bits[DType.float32](),
        )

    @always_inline
    def count(self) -> Int:
        return Int(self.counts[0])

    @always_inline
    def token(self, i: Int) -> Int:
        return Int(self.tokens[i])

    @always_inline
    def greatest(self) -> Float32:
        return self.logits[0] if self.count() else SUPPRESSED

    @always_inline
    def sum_exp(self) -> Float32:
        """The sum of e to the logits of all tokens less the greatest."""
        return self.sums[0]

    def log_sum_exp(self) -> Float32:
        """The natural logarithm of the sum of e to the logits of all tokens."""
        return self.greatest() + log(self.sum_exp())

    def logprob(self, i: Int) -> Float32:
        """The natural logarithm of a token's probability, rounded as by `log_softmax` of decoding/hypothesis.py."""
        return (self.logits[i] - self.greatest()) - log(self.sum_exp())

    def find(self, logits: View[DType.float32], first_token: Int, begin: Int, end: Int):
        """Set to the greatest logits of tokens `begin` to `end`, that one not included; there may be none.

        logits: [1, n] of the tokens from `first_token` on.
        """
        self.counts[0] = 0
        self.sums[0] = 0
        var threshold = SUPPRESSED
        var token = begin
        while token + 64 <= end:
            var i = token - first_token
            var a = larger(logits.load[16](0, i), logits.load[16](0, i + 16))
            var b = larger(logits.load[16](0, i + 32), logits.load[16](0, i + 48))
            if larger(a, b).gt(threshold).reduce_or():
                threshold = self._insert_greater(logits, first_token, token, token + 64, threshold)
            token += 64
        _ = self._insert_greater(logits, first_token, token, end, threshold)
        if self.count():
            self.sums[0] = _sum_exp(logits.columns_from(begin - first_token, end - begin), self.greatest())

    def merge(self, other: Self):
        """Take in another one, of greater tokens."""
        if other.count() == 0:
            return
        var before = self.greatest()
        for i in range(other.count()):
            if not other.logits[i] > self._threshold():
                break
            self._insert(other.token(i), other.logits[i])
        var sum = other.sum_exp() * _exponential(other.greatest() - self.greatest())
        if before != SUPPRESSED:
            sum += self.sum_exp() * _exponential(before - self.greatest())
        self.sums[0] = sum

    def fill(self):
        """Where there are fewer than k, let the first other tokens follow: as NumPy sorts logits of minus infinity."""
        var token = 0
        while self.count() < self.k:
            var is_there = False
            for i in range(self.count()):
                is_there = is_there or self.token(i) == token
            if not is_there:
                self._insert(token, SUPPRESSED)
            token += 1

    @always_inline
    def _threshold(self) -> Float32:
        """A logit has to exceed it to be one of the greatest."""
        return self.logits[self.k - 1] if self.count() == self.k else SUPPRESSED

    @always_inline
    def _set(self, i: Int, token: Int, logit: Float32):
        self.tokens[i] = Int64(token)
        self.logits[i] = logit

    def _insert(self, token: Int, logit: Float32):
        """Add a logit that exceeds the threshold, after those that are as great."""
        var i = min(self.count(), self.k - 1)
        self.counts[0] = Int64(i + 1)
        while i > 0 and self.logits[i - 1] < logit:
            self._set(i, self.token(i - 1), self.logits[i - 1])
            i -= 1
        self._set(i, token, logit)

    def _insert_greater(
        self, logits: View[DType.float32], first_token: Int, begin: Int, end: Int, threshold: Float32
    ) -> Float32:
        """Insert each logit that exceeds the threshold, and return the threshold after that."""
        var exceeded = threshold
        for token in range(begin, end):
            var logit = logits[token - first_token]
            if logit > exceeded:
                self._insert(token, logit)
                exceeded = self._threshold()
        return exceeded


def _sum_exp(logits: View[DType.float32], greatest: Float32) -> Float32:
    """The sum of e to logits [1, n] less the greatest."""
    var accumulators = Array[Floats, 2](fill=Floats(0))
    var i = 0
    while i + 32 <= logits.columns:
        comptime for half in range(2):
            accumulators[half] += exponential(logits.load[16](0, i + 16 * half) - greatest)
        i += 32
    var sum = (accumulators[0] + accumulators[1]).reduce_add()
    for rest in range(i, logits.columns):
        sum += _exponential(logits[rest] - greatest)
    return sum


@always_inline
def _exponential(x: Float32) -> Float32:
    return exponential(Floats(x))[0]
