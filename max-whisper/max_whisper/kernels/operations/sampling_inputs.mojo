"""The inputs that greedy decoding and beam search share: prompts, and the rules of the tokens that follow.

They are graphs/fused.py's SAMPLING_INPUTS. Their numbers are checked here, once, before any of them is used as an
index.
"""

from extensibility import InputTensor
from std.math import max

from ..memory.views import View, row_of, view_of
from ..sampling.logit_rules import LogitRules
from .checks import expect_at_least, expect_equal, expect_ids, expect_range
from .prompts import Prompts


@fieldwise_init
struct SamplingInputs(ImplicitlyCopyable):
    """Prompts and rules that have been checked."""

    var prompts: Prompts
    var rules: LogitRules


def sampling_inputs_of(
    operation: StaticString,
    n_vocab: Int,
    n_text_ctx: Int,
    room: Int,
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
) raises -> SamplingInputs:
    """The inputs of an operation (see greedy.mojo). n_text_ctx: position ids. room: tokens that the result has for a
    text."""
    var given = Prompts(
        view_of(prompts), row_of(padding), row_of(max_new_tokens), Int(sot_index), Int(no_speech_token), n_text_ctx
    )
    _check_prompts(operation, given, n_vocab, room)
    var rules = LogitRules(
        n_vocab,
        row_of(suppress_tokens),
        row_of(begin_suppress_tokens),
        Int(end_of_text),
        Int(first_timestamp),
        Int(last_initial_timestamp),
    )
    _check_rules(operation, rules)
    return SamplingInputs(given, rules)


def _check_prompts(operation: StaticString, prompts: Prompts, n_vocab: Int, room: Int) raises:
    """That the prompts are of the vocabulary, and that the tokens that may follow have room."""
    var windows, length = prompts.windows(), prompts.length()
    expect_at_least(operation, "windows of prompts", windows, 1)
    expect_equal(operation, "windows of padding", prompts.padding.columns, windows)
    expect_equal(operation, "windows of max_new_tokens", prompts.max_new_tokens.columns, windows)
    expect_ids(operation, "prompts", prompts.tokens, n_vocab)
    expect_range(operation, "sot_index", prompts.sot_index, 0, length - 1)
    expect_range(operation, "no_speech_token", prompts.no_speech_token, 0, n_vocab - 1)
    for window in range(windows):
        var padding, most = Int(prompts.padding[window]), Int(prompts.max_new_tokens[window])
        expect_range(operation, "padding of a window", padding, 0, prompts.sot_index)
        expect_range(operation, "max_new_tokens of a window", most, 1, room)
        # The last token that is chosen is not read again.
        expect_range(operation, "position ids of a window", length - padding + most - 1, 1, prompts.n_text_ctx)


def _check_rules(operation: StaticString, rules: LogitRules) raises:
    """That the rules' tokens are of the vocabulary, and those of the lists ascend."""
    _check_ascending(operation, "suppress_tokens", rules.suppress_tokens, rules.n_vocab)
    _check_ascending(operation, "begin_suppress_tokens", rules.begin_suppress_tokens, rules.n_vocab)
    expect_range(operation, "end_of_text", rules.end_of_text, 0, rules.n_vocab - 1)
    expect_range(operation, "first_timestamp", rules.first_timestamp, -1, rules.n_vocab - 1)
    if rules.last_initial_timestamp != -1:
        # It may lie beyond the vocabulary: then it limits nothing.
        var first = max(rules.first_timestamp, 0)
        expect_at_least(operation, "last_initial_timestamp, if not -1,", rules.last_initial_timestamp, first)


def _check_ascending(operation: StaticString, name: StaticString, tokens: View[DType.int64], n_vocab: Int) raises:
    expect_ids(operation, name, tokens, n_vocab)
    for i in range(1, tokens.columns):
        if tokens[i] <= tokens[i - 1]:
            raise Error(operation, ": ", name, " has ", tokens[i], " after ", tokens[i - 1], ", and must ascend")
