"""The most probable tokens of rows of logits under the rules of what may come next, found by several threads.

operations/decoder.mojo computes logits of CHUNK tokens of the vocabulary at a time, in a thread's own memory, and gives
each chunk to `add_chunk`. `top_k` then merges the chunks of a row in their order, whichever threads they came from, so
that sums are rounded alike each time. What is found is what decoding/rules.py, greedy.py and beam.py find of the same
logits.

Text and timestamps are kept apart until then, as a rule compares the probability of the timestamps with that of text.
"""

from std.math import ceildiv, max, min

from ..memory.arena import Arena
from ..memory.views import Bytes, View
from .logit_rules import AllowedTokens, LogitRules
from .top_k import SUPPRESSED, TopK

comptime CHUNK = 512  # tokens whose logits a thread computes at a time
comptime TEXT = 0
comptime TIMESTAMPS = 1


@fieldwise_init
struct Sampler(ImplicitlyCopyable):
    """Rows of logits, each with the tokens that are allowed in it and the greatest of each chunk."""

    var rules: LogitRules
    var k: Int  # tokens that are wanted of each row
    var rows: Int  # that there is room for
    var allowed: View[DType.int64]  # [rows, 6]: an AllowedTokens each
    var records: Bytes  # [rows * 2 * chunks, TopK.size(k)]: a TopK of text and one of timestamps for each chunk
    var logits: View[DType.float32]  # [n_threads * rows, CHUNK]

    @staticmethod
    def take(mut arena: Arena, rules: LogitRules, *, k: Int, rows: Int, n_threads: Int) -> Self:
        return Self(
            rules,
            k,
            rows,
            arena.take[DType.int64](rows, AllowedTokens.COLUMNS),
            arena.take[DType.uint8](rows * 2 * _chunks(rules), TopK.size(k)),
            arena.take[DType.float32](n_threads * rows, CHUNK),
        )

    @always_inline
    def chunks(self) -> Int:
        """Chunks that the vocabulary has, the last one perhaps in part."""
        return _chunks(self.rules)

    def allow(self, row: Int, allowed: AllowedTokens):
        """Say which tokens may come next in a row."""
        allowed.store(self.allowed, row)

    @always_inline
    def chunk_logits(self, thread: Int) -> View[DType.float32]:
        """Where a thread writes the logits of a chunk before `add_chunk`: [rows, CHUNK]."""
        return self.logits.rows_from(thread * self.rows, self.rows)

    def add_chunk(self, thread: Int, rows: Int, chunk: Int):
        """Find the greatest of a chunk's logits that a thread has written, for the first `rows` rows."""
        var begin = chunk * CHUNK
        var end = min(begin + CHUNK, self.rules.n_vocab)
        var suppressed = _tokens_between(self.rules.suppress_tokens, begin, end)
        var suppressed_at_begin = _tokens_between(self.rules.begin_suppress_tokens, begin, end)
        for row in range(rows):
            var allowed = AllowedTokens.load(self.allowed, row)
            var logits = self.chunk_logits(thread).row(row)
            if allowed.suppresses:
                _suppress(logits, begin, suppressed)
            if allowed.is_first:
                _suppress(logits, begin, suppressed_at_begin)
            var first, last = max(begin, allowed.text_begin), min(end, allowed.text_end)
            self._of_chunk(row, TEXT, chunk).find(logits, begin, first, last)
            first, last = max(begin, allowed.timestamps_begin), min(end, allowed.timestamps_end)
            self._of_chunk(row, TIMESTAMPS, chunk).find(logits, begin, first, last)

    def merged(self, row: Int, kind: Int) -> TopK:
        """The greatest logits of a row's text or timestamps (kind: TEXT or TIMESTAMPS), of all chunks."""
        var merged = self._of_chunk(row, kind, 0)
        for chunk in range(1, self.chunks()):
            merged.merge(self._of_chunk(row, kind, chunk))
        return merged

    def top_k(self, row: Int) -> TopK:
        """The k most probable tokens of a row, once for each step.

        They are timestamps alone where timestamps together are more probable than any other token.
        """
        var top = self.merged(row, TEXT)
        if self.rules.first_timestamp >= 0:
            var timestamps = self.merged(row, TIMESTAMPS)
            if timestamps.count() and timestamps.log_sum_exp() > top.greatest():
                top = timestamps
            else:
                top.merge(timestamps)
        top.fill()
        return top

    @always_inline
    def _of_chunk(self, row: Int, kind: Int, chunk: Int) -> TopK:
        return TopK.of(self.records.row((row * 2 + kind) * self.chunks() + chunk), self.k)


@always_inline
def _chunks(rules: LogitRules) -> Int:
    return ceildiv(rules.n_vocab, CHUNK)


def _tokens_between(tokens: View[DType.int64], begin: Int, end: Int) -> View[DType.int64]:
    """Those of ascending tokens [1, n] from `begin` to `end`, that one not included."""
    var first = _lower_bound(tokens, begin)
    return tokens.columns_from(first, _lower_bound(tokens, end) - first)


def _lower_bound(tokens: View[DType.int64], token: Int) -> Int:
    """How many of ascending tokens [1, n] are less than a token."""
    var low = 0
    var high = tokens.columns
    while low < high:
        var middle = (low + high) // 2
        if Int(tokens[middle]) < token:
            low = middle + 1
        else:
            high = middle
    return low


def _suppress(logits: View[DType.float32], first_token: Int, tokens: View[DType.int64]):
    for i in range(tokens.columns):
        logits[Int(tokens[i]) - first_token] = SUPPRESSED
