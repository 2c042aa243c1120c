"""The choice of a token under the rules of what may come next, as decoding/rules.py and decoding/greedy.py make it."""

from std.math import log, max

from .functions import exponential, larger
from .tiles import Floats, load, store

comptime FORBIDDEN = Float32.MIN


@fieldwise_init
struct Rules(ImplicitlyCopyable):
    """The tokens that rules speak of."""

    var end: Int  # of the text
    var timestamps: Int  # the first one; -1 where there are no rules for them
    var no_timestamps: Int
    var latest_first: Int  # the latest timestamp that a window may begin with; -1 where there is no limit

    @staticmethod
    def at(address: Int) -> Self:
        return Self(
            Int(load[DType.int64, 1](address)),
            Int(load[DType.int64, 1](address + 8)),
            Int(load[DType.int64, 1](address + 16)),
            Int(load[DType.int64, 1](address + 24)),
        )


@fieldwise_init
struct Choice(ImplicitlyCopyable):
    """How a token is chosen from logits float32 [n_vocab]."""

    var n_vocab: Int
    var forbidden: Int  # int64 [n_forbidden], tokens that never come
    var n_forbidden: Int
    var at_first: Int  # int64 [n_at_first], tokens that do not come first
    var n_at_first: Int
    var rules: Rules

    def choose(self, row: Int, text: Int, length: Int, mut logprob: Float64) -> Int:
        """The most probable token after a text, int64 [length], and its natural log probability. Changes the logits."""
        if length == 0:
            self._forbid_all(row, self.at_first, self.n_at_first)
        self._forbid_all(row, self.forbidden, self.n_forbidden)
        if self.rules.timestamps >= 0:
            self._keep_times(row, text, length)
        var largest = self._largest(row, 0, self.n_vocab)
        logprob = -Float64(log(self._sum(row, 0, self.n_vocab, largest)))
        for token in range(0, self.n_vocab):
            if load[DType.float32, 1](row + token * 4) == largest:
                return token
        return 0

    def _forbid_all(self, row: Int, tokens: Int, count: Int):
        for i in range(count):
            store(row + Int(load[DType.int64, 1](tokens + i * 8)) * 4, FORBIDDEN)

    def _forbid(self, row: Int, first: Int, last: Int):
        for token in range(first, min(last, self.n_vocab)):
            store(row + token * 4, FORBIDDEN)

    def _keep_times(self, row: Int, text: Int, length: Int):
        """Timestamps come in pairs around text and never go back; see `TimestampRules` in decoding/rules.py."""
        var begin = self.rules.timestamps
        store(row + self.rules.no_timestamps * 4, FORBIDDEN)
        if length == 0:
            self._forbid(row, 0, begin)
            if self.rules.latest_first >= 0:
                self._forbid(row, self.rules.latest_first + 1, self.n_vocab)
        else:
            var ends_with_time = Int(load[DType.int64, 1](text + (length - 1) * 8)) >= begin
            var ends_with_pair = ends_with_time
            if length >= 2:
                ends_with_pair = ends_with_time and Int(load[DType.int64, 1](text + (length - 2) * 8)) >= begin
            if ends_with_pair:
                self._forbid(row, begin, self.n_vocab)
            elif ends_with_time:
                self._forbid(row, 0, self.rules.end)
            for i in range(length - 1, -1, -1):
                var last = Int(load[DType.int64, 1](text + i * 8))
                if last >= begin:
                    var earliest = last if ends_with_time and not ends_with_pair else last + 1
                    self._forbid(row, begin, earliest)
                    break
        var peak = self._largest(row, begin, self.n_vocab)
        if peak != FORBIDDEN:
            var total = peak + log(self._sum(row, begin, self.n_vocab, peak))
            if total > self._largest(row, 0, begin):
                self._forbid(row, 0, begin)

    def _largest(self, row: Int, first: Int, last: Int) -> Float32:
        var largest = Array[Floats, 4](fill=Floats(FORBIDDEN))
        var token = first
        while token + 64 <= last:
            comptime for i in range(4):
                largest[i] = larger(load[DType.float32, 16](row + (token + 16 * i) * 4), largest[i])
            token += 64
        var result = larger(larger(largest[0], largest[1]), larger(largest[2], largest[3])).reduce_max()
        for rest in range(token, last):
            result = max(result, load[DType.float32, 1](row + rest * 4))
        return result

    def _sum(self, row: Int, first: Int, last: Int, largest: Float32) -> Float32:
        """The sum of e to the logits less the largest."""
        var total = Array[Floats, 2](fill=Floats(0))
        var token = first
        while token + 32 <= last:
            comptime for i in range(2):
                total[i] += exponential(load[DType.float32, 16](row + (token + 16 * i) * 4) - largest)
            token += 32
        var result = (total[0] + total[1]).reduce_add()
        for rest in range(token, last):
            result += exponential(Floats(load[DType.float32, 1](row + rest * 4) - largest))[0]
        return result
