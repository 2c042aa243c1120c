"""The choice of tokens under the rules of what may come next, as decoding/rules.py, greedy.py and beam.py make it.

Logits are never all in memory: a thread computes those of a chunk of the vocabulary, of which the best few are kept and
the sum that the softmax divides by, for the tokens of text and for the timestamps. Chunks are put together in their
order, whichever threads they came from, so that the sums are the same each time.
"""

from extensibility import InputTensor
from std.math import ceildiv, log, max, min

from .functions import exponential, larger
from .tiles import Floats, load, store

comptime FORBIDDEN = Float32.MIN
comptime CHUNK = 512  # tokens whose logits a thread computes at a time


@fieldwise_init
struct Rules(ImplicitlyCopyable):
    """The tokens that rules speak of."""

    var end: Int  # of the text
    var timestamps: Int  # the first one; -1 where there are no rules for them
    var latest_first: Int  # the latest timestamp that a window may begin with; -1 where there is no limit

    @staticmethod
    def at(address: Int) -> Self:
        return Self(
            Int(load[DType.int64, 1](address)),
            Int(load[DType.int64, 1](address + 8)),
            Int(load[DType.int64, 1](address + 16)),
        )


@fieldwise_init
struct Allowed(ImplicitlyCopyable):
    """Which tokens may come next: two ranges, of text and of timestamps, less the tokens of one or both lists."""

    var text: Int
    var text_end: Int
    var times: Int
    var times_end: Int
    var lists: Int  # 0 for none, 1 for those that never come, 2 for those that do not come first, too

    comptime SIZE = 40

    @staticmethod
    def at(address: Int) -> Self:
        var numbers = load[DType.int64, 4](address)
        var lists = Int(load[DType.int64, 1](address + 32))
        return Self(Int(numbers[0]), Int(numbers[1]), Int(numbers[2]), Int(numbers[3]), lists)

    def put(self, address: Int):
        store(address, Int64(self.text))
        store(address + 8, Int64(self.text_end))
        store(address + 16, Int64(self.times))
        store(address + 24, Int64(self.times_end))
        store(address + 32, Int64(self.lists))

    @staticmethod
    def after(text: Int, length: Int, rules: Rules, n_vocab: Int) -> Self:
        """What may follow a text, int64 [length].

        Timestamps come in pairs around text and never go back; see `TimestampRules` in decoding/rules.py.
        """
        var lists = 2 if length == 0 else 1
        var begin = rules.timestamps
        if begin < 0:
            return Self(0, n_vocab, 0, 0, lists)
        if length == 0:
            var latest = min(rules.latest_first + 1, n_vocab) if rules.latest_first >= 0 else n_vocab
            return Self(0, 0, begin, latest, lists)
        var ends_with_time = Int(load[DType.int64, 1](text + (length - 1) * 8)) >= begin
        # The timestamp that a window begins with counts as the second of a pair.
        var ends_with_pair = ends_with_time
        if length >= 2:
            ends_with_pair = ends_with_time and Int(load[DType.int64, 1](text + (length - 2) * 8)) >= begin
        if ends_with_pair:
            return Self(0, begin, begin, begin, lists)
        var earliest = begin
        for i in range(length - 1, -1, -1):
            var last = Int(load[DType.int64, 1](text + i * 8))
            if last >= begin:
                # The next segment may begin where the last one ended; it may not end where it began.
                earliest = last if ends_with_time else last + 1
                break
        return Self(rules.end if ends_with_time else 0, begin, earliest, n_vocab, lists)


@fieldwise_init
struct Best(ImplicitlyCopyable):
    """The `size` greatest of some logits, descending, of equal ones the first token's first, and what a softmax of all needs."""

    var address: Int
    var size: Int

    @staticmethod
    def bytes(size: Int) -> Int:
        return ceildiv(16 + size * 12, 64) * 64

    @always_inline
    def total(self) -> Float32:
        """The sum of e to each logit less the largest."""
        return load[DType.float32, 1](self.address)

    @always_inline
    def count(self) -> Int:
        return Int(load[DType.int64, 1](self.address + 8))

    @always_inline
    def token(self, i: Int) -> Int:
        return Int(load[DType.int64, 1](self.address + 16 + i * 8))

    @always_inline
    def logit(self, i: Int) -> Float32:
        return load[DType.float32, 1](self.address + 16 + self.size * 8 + i * 4)

    @always_inline
    def largest(self) -> Float32:
        return self.logit(0) if self.count() else FORBIDDEN

    def logprob(self, i: Int) -> Float32:
        """The natural logarithm of a token's probability, rounded as `log_softmax` in decoding/hypothesis.py is."""
        return (self.logit(i) - self.largest()) - log(self.total())

    @always_inline
    def _least(self) -> Float32:
        """What a logit has to exceed to be one of the best."""
        return self.logit(self.size - 1) if self.count() == self.size else FORBIDDEN

    def _put(self, i: Int, token: Int, logit: Float32):
        store(self.address + 16 + i * 8, Int64(token))
        store(self.address + 16 + self.size * 8 + i * 4, logit)

    def _insert(self, token: Int, logit: Float32):
        """Add one that exceeds the least, after those that are as great."""
        var place = min(self.count(), self.size - 1)
        store(self.address + 8, Int64(place + 1))
        while place > 0 and self.logit(place - 1) < logit:
            self._put(place, self.token(place - 1), self.logit(place - 1))
            place -= 1
        self._put(place, token, logit)

    def take(self, logits: Int, first: Int, last: Int):
        """Set to those of tokens first to last, that one not included; there may be none.

        logits: where the logit of token 0 would be.
        """
        store(self.address, Float32(0))
        store(self.address + 8, Int64(0))
        var least = FORBIDDEN
        var token = first
        while token + 64 <= last:
            var place = logits + token * 4
            var one = larger(load[DType.float32, 16](place), load[DType.float32, 16](place + 64))
            var other = larger(load[DType.float32, 16](place + 128), load[DType.float32, 16](place + 192))
            if larger(one, other).gt(least).reduce_or():
                least = self._find(logits, token, token + 64, least)
            token += 64
        _ = self._find(logits, token, last, least)
        if self.count():
            store(self.address, _sum(logits, first, last, self.largest()))

    def _find(self, logits: Int, first: Int, last: Int, least: Float32) -> Float32:
        var exceeded = least
        for token in range(first, last):
            var logit = load[DType.float32, 1](logits + token * 4)
            if logit > exceeded:
                self._insert(token, logit)
                exceeded = self._least()
        return exceeded

    def _add_sum(self, sum: Float32, before: Float32):
        """Add to the total, which so far is relative to what was the largest before."""
        var total = sum
        if before != FORBIDDEN:
            total += self.total() * _exponential(before - self.largest())
        store(self.address, total)

    def merge(self, other: Self):
        """Take in those of greater tokens."""
        if other.count() == 0:
            return
        var before = self.largest()
        for i in range(other.count()):
            if not other.logit(i) > self._least():
                break
            self._insert(other.token(i), other.logit(i))
        self._add_sum(other.total() * _exponential(other.largest() - self.largest()), before)

    def fill(self):
        """Where fewer tokens are allowed, let the first of the others follow: as NumPy sorts logits of minus infinity."""
        var token = 0
        while self.count() < self.size:
            var is_there = False
            for i in range(self.count()):
                is_there = is_there or self.token(i) == token
            if not is_there:
                self._insert(token, FORBIDDEN)
            token += 1


@fieldwise_init
struct Choice(ImplicitlyCopyable):
    """Rows of logits of which the best are to be found, by several threads."""

    var n_vocab: Int
    var forbidden: Int  # int64 [n_forbidden], ascending: tokens that never come
    var n_forbidden: Int
    var at_first: Int  # int64 [n_at_first], ascending: tokens that do not come first
    var n_at_first: Int
    var rules: Rules
    var size: Int  # how many of the best are wanted
    var rows: Int  # that there is room for
    var n_threads: Int
    var allowed: Int  # an Allowed for each row
    var best: Int  # [rows, 2, chunks] of Best: of text and of timestamps
    var logits: Int  # float32 [n_threads, rows, CHUNK]

    @staticmethod
    def of(
        n_vocab: Int,
        forbidden: InputTensor[dtype=DType.int64, rank=1, ...],
        at_first: InputTensor[dtype=DType.int64, rank=1, ...],
        numbers: InputTensor[dtype=DType.int64, rank=1, ...],
        size: Int,
        rows: Int,
        n_threads: Int,
    ) -> Self:
        """Without memory; numbers: int64, the last ones those of `Rules`."""
        return Self(
            n_vocab,
            Int(forbidden.unsafe_ptr()),
            forbidden.shape()[0],
            Int(at_first.unsafe_ptr()),
            at_first.shape()[0],
            Rules.at(Int(numbers.unsafe_ptr()) + 16),
            size,
            rows,
            n_threads,
            0,
            0,
            0,
        )

    def memory_size(self) -> Int:
        var of_row = 2 * self.chunks() * Best.bytes(self.size) + self.n_threads * CHUNK * 4
        return ceildiv(self.rows * Allowed.SIZE, 64) * 64 + self.rows * of_row

    @always_inline
    def chunks(self) -> Int:
        """Chunks that the vocabulary has, the last one perhaps in part."""
        return ceildiv(self.n_vocab, CHUNK)

    def placed(self, address: Int) -> Self:
        """The same with its memory, of `memory_size`."""
        var choice = self
        choice.allowed = address
        choice.best = address + ceildiv(self.rows * Allowed.SIZE, 64) * 64
        choice.logits = choice.best + self.rows * 2 * self.chunks() * Best.bytes(self.size)
        return choice

    def allow(self, row: Int, allowed: Allowed):
        allowed.put(self.allowed + row * Allowed.SIZE)

    @always_inline
    def logits_of(self, thread: Int, row: Int) -> Int:
        """Where a thread writes a row's logits of a chunk."""
        return self.logits + (thread * self.rows + row) * CHUNK * 4

    @always_inline
    def _best(self, row: Int, part: Int, chunk: Int) -> Best:
        return Best(self.best + ((row * 2 + part) * self.chunks() + chunk) * Best.bytes(self.size), self.size)

    def take_in(self, thread: Int, rows: Int, chunk: Int):
        """Take in a chunk's logits, which a thread has written."""
        var first = chunk * CHUNK
        var last = min(first + CHUNK, self.n_vocab)
        var forbidden = _lower_bound(self.forbidden, self.n_forbidden, first)
        var forbidden_end = _lower_bound(self.forbidden, self.n_forbidden, last)
        var at_first = _lower_bound(self.at_first, self.n_at_first, first)
        var at_first_end = _lower_bound(self.at_first, self.n_at_first, last)
        for row in range(rows):
            var allowed = Allowed.at(self.allowed + row * Allowed.SIZE)
            var logits = self.logits_of(thread, row) - first * 4
            if allowed.lists >= 1:
                _forbid(logits, self.forbidden, forbidden, forbidden_end)
            if allowed.lists == 2:
                _forbid(logits, self.at_first, at_first, at_first_end)
            self._best(row, 0, chunk).take(logits, max(first, allowed.text), min(last, allowed.text_end))
            self._best(row, 1, chunk).take(logits, max(first, allowed.times), min(last, allowed.times_end))

    def part(self, row: Int, part: Int) -> Best:
        """The best of a row's text, 0, or timestamps, 1, of all chunks."""
        var best = self._best(row, part, 0)
        for chunk in range(1, self.chunks()):
            best.merge(self._best(row, part, chunk))
        return best

    def conclude(self, row: Int) -> Best:
        """The best tokens of a row; timestamps alone where they together are more probable than any other token."""
        var best = self.part(row, 0)
        if self.rules.timestamps >= 0:
            var times = self.part(row, 1)
            if times.count() and times.largest() + log(times.total()) > best.largest():
                best = times
            else:
                best.merge(times)
        best.fill()
        return best


def _lower_bound(tokens: Int, count: Int, token: Int) -> Int:
    """How many of ascending tokens int64 [count] are less than a token."""
    var low = 0
    var high = count
    while low < high:
        var middle = (low + high) // 2
        if Int(load[DType.int64, 1](tokens + middle * 8)) < token:
            low = middle + 1
        else:
            high = middle
    return low


def _forbid(logits: Int, tokens: Int, first: Int, last: Int):
    for i in range(first, last):
        store(logits + Int(load[DType.int64, 1](tokens + i * 8)) * 4, FORBIDDEN)


def _sum(logits: Int, first: Int, last: Int, largest: Float32) -> Float32:
    """The sum of e to the logits less the largest."""
    var total = Array[Floats, 2](fill=Floats(0))
    var token = first
    while token + 32 <= last:
        comptime for i in range(2):
            total[i] += exponential(load[DType.float32, 16](logits + (token + 16 * i) * 4) - largest)
        token += 32
    var result = (total[0] + total[1]).reduce_add()
    for rest in range(token, last):
        result += _exponential(load[DType.float32, 1](logits + rest * 4) - largest)
    return result


@always_inline
def _exponential(x: Float32) -> Float32:
    return exponential(Floats(x))[0]
