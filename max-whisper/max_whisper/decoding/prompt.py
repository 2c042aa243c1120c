"""What the decoder is given before it chooses a token."""

from collections.abc import Sequence

from max_whisper.errors import OptionError
from max_whisper.models.whisper.dimensions import ModelDimensions
from max_whisper.models.whisper.tokenizer import Tokenizer, get_tokenizer
from max_whisper.options import TranscribeOptions


def initial_tokens(
    tokenizer: Tokenizer, options: TranscribeOptions, previous: Sequence[int], n_text_ctx: int
) -> list[int]:
    """The previous text, the start of the transcript with its language and task, and the prefix.

    previous: tokens said before the window; the last n_text_ctx // 2 - 1 of them are used (whisper/decoding.py,
    DecodingTask._get_initial_tokens).

    Raises OptionError where the prefix leaves no room for a token.
    """
    tokens = [
        *(tokenizer.sot_sequence_including_notimestamps if options.without_timestamps else tokenizer.sot_sequence),
        *_prefix(tokenizer, options, n_text_ctx),
    ]
    if previous:
        tokens = [tokenizer.sot_prev, *previous[-(n_text_ctx // 2 - 1) :], *tokens]
    if len(tokens) > n_text_ctx:
        raise OptionError(
            f"prefix: with the prompt it makes {len(tokens)} tokens, and the model reads {n_text_ctx}; shorten it"
        )
    return tokens


def check_prefix(options: TranscribeOptions, dims: ModelDimensions) -> None:
    """Refuse a prefix that leaves no room for a token after the longest prompt that the options can lead to.

    Raises OptionError.
    """
    if options.prefix:
        can_have_prompt = options.condition_on_previous_text or options.initial_prompt is not None or options.hotwords
        tokenizer = get_tokenizer(
            dims.is_multilingual, num_languages=dims.num_languages, language=options.language, task=options.task
        )
        initial_tokens(tokenizer, options, [0] * dims.n_text_ctx if can_have_prompt else [], dims.n_text_ctx)


def text_tokens(tokenizer: Tokenizer, text: str | Sequence[int] | None) -> list[int]:
    """A prompt or a prefix as tokens: those of a text after a space, or the ones given."""
    if isinstance(text, str):
        return tokenizer.encode(" " + text.strip())
    return list(text or ())


def _prefix(tokenizer: Tokenizer, options: TranscribeOptions, n_text_ctx: int) -> list[int]:
    """The prefix, cut from its beginning to what `sample_len` leaves of half the context.

    As in openai-whisper, where nothing is left the whole prefix stays.
    """
    if not options.prefix:
        return []
    room = n_text_ctx // 2 - (options.sample_len or n_text_ctx // 2)
    return text_tokens(tokenizer, options.prefix)[-room:]
