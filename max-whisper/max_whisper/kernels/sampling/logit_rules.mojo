"""Which tokens may come next: the rules of decoding/rules.py that speak of tokens alone.

`suppress_tokens` never come and `begin_suppress_tokens` do not come first (`SuppressTokens`, `SuppressBlank`).
Timestamps come in pairs around text and never go back (`TimestampRules`; ApplyTimestampRules of whisper/decoding.py).
That timestamps win where they together are more probable than any other token is a rule of logits: see `Sampler.top_k`.

What may follow a text is two ranges of tokens, of text and of timestamps, less the suppressed ones.
operations/prompts.mojo, greedy.mojo and beams.mojo ask for it after each token.
"""

from std.math import min

from ..memory.views import View


@fieldwise_init
struct AllowedTokens(ImplicitlyCopyable):
    """The tokens that may come next in one row of logits."""

    var text_begin: Int
    var text_end: Int
    var timestamps_begin: Int
    var timestamps_end: Int
    var suppresses: Bool  # `suppress_tokens` are taken away
    var is_first: Bool  # `begin_suppress_tokens` are taken away, too

    comptime COLUMNS = 6  # int64 in a view

    @staticmethod
    def load(view: View[DType.int64], row: Int) -> Self:
        return Self(
            Int(view.load(row, 0)),
            Int(view.load(row, 1)),
            Int(view.load(row, 2)),
            Int(view.load(row, 3)),
            view.load(row, 4) != 0,
            view.load(row, 5) != 0,
        )

    def store(self, view: View[DType.int64], row: Int):
        view.store(row, 0, Int64(self.text_begin))
        view.store(row, 1, Int64(self.text_end))
        view.store(row, 2, Int64(self.timestamps_begin))
        view.store(row, 3, Int64(self.timestamps_end))
        view.store(row, 4, Int64(self.suppresses))
        view.store(row, 5, Int64(self.is_first))


@fieldwise_init
struct LogitRules(ImplicitlyCopyable):
    """The rules for all windows of a call, and the tokens that they speak of."""

    var n_vocab: Int
    var suppress_tokens: View[DType.int64]  # [1, n], ascending
    var begin_suppress_tokens: View[DType.int64]  # [1, n], ascending
    var end_of_text: Int
    var first_timestamp: Int  # -1 where there are no rules of timestamps
    var last_initial_timestamp: Int  # the latest one that a text may begin with; -1 where there is no limit

    def allowed_at_begin(self) -> AllowedTokens:
        """The tokens that a text may begin with."""
        if self.first_timestamp < 0:
            return AllowedTokens(0, self.n_vocab, 0, 0, True, True)
        var end = self.n_vocab
        if self.last_initial_timestamp >= 0:
            end = min(self.last_initial_timestamp + 1, end)
        return AllowedTokens(0, 0, self.first_timestamp, end, True, True)

    def allowed_after(self, text: View[DType.int64]) -> AllowedTokens:
        """The tokens that may follow a text [1, n], of at least one token."""
        var begin = self.first_timestamp
        if begin < 0:
            return AllowedTokens(0, self.n_vocab, 0, 0, True, False)
        var n = text.columns
        var ends_with_timestamp = Int(text[n - 1]) >= begin
        # The timestamp that a window begins with counts as the second of a pair.
        var ends_with_pair = ends_with_timestamp and (n < 2 or Int(text[n - 2]) >= begin)
        if ends_with_pair:
            return AllowedTokens(0, begin, begin, begin, True, False)
        var earliest = begin
        for i in range(n - 1, -1, -1):
            var last = Int(text[i])
            if last >= begin:
                # The next segment may begin where the last one ended; it may not end where it began.
                earliest = last if ends_with_timestamp else last + 1
                break
        return AllowedTokens(self.end_of_text if ends_with_timestamp else 0, begin, earliest, self.n_vocab, True, False)
