"""The audio track of a file that is read: the one that is asked for, or the one that says the most."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from max_whisper.errors import AudioError

if TYPE_CHECKING:
    import av

# Dispositions (libavformat/avformat.h) of tracks beside the main sound: comments, descriptions of the picture, sound
# for those who hear or see badly, sound without the voices, and parts that are to be mixed into another track.
_BESIDE = (
    *("comment", "descriptions", "visual_impaired", "hearing_impaired"),
    *("karaoke", "clean_effects", "non_diegetic", "dependent"),
)
# Many films have no dispositions, and say it in the track's title alone. The words for it in the languages of films.
_TITLE_BESIDE = re.compile(
    r"\b(commentar(y|ies)|commentaires?|(audio)?kommentar(e|er| track|spur)?|comentarios?|comment(o|i) audio"
    r"|audio[ -]?(commento|descri(ption|ptive|ção|pción|zione)|deskription|comment)"
    r"|descri(ptive|bed) (audio|video|track)|visually impaired|isolated score)\b"
    r"|комментари|тифлокомментари|コメンタリー|音声解説|评论音轨|評論音軌",
    re.IGNORECASE,
)


def chosen_track(streams: Sequence[av.AudioStream], wanted: int | str | None, name: str) -> av.AudioStream | None:
    """The audio stream to read; None where none can be decoded.

    Args:
        streams: all audio streams of a file, in its order.
        wanted: the number of one, counted from 1, or a language tag ('eng', in which 'en' finds 'en-US'). None is the
            choice of the `ffmpeg` program, the default stream, then the one with the most channels, then the first,
            but for comments and descriptions where there is another.
        name: of the file, in messages.

    Raises:
        AudioError: there is no such track, or it cannot be decoded; the message lists the tracks.
    """
    if isinstance(wanted, int):
        if wanted > len(streams):
            raise AudioError(f"{name} has no audio track {wanted}; {_give(streams)}")
        if not _is_readable(streams[wanted - 1]):
            raise AudioError(f"audio track {wanted} of {name} cannot be decoded; {_give(streams)}")
        return streams[wanted - 1]
    readable = [stream for stream in streams if _is_readable(stream)]
    if wanted is not None:
        readable = [stream for stream in readable if _speaks(stream, wanted)]
        if not readable:
            raise AudioError(f"{name} has no audio track in '{wanted}'; {_give(streams)}")
    return max(readable, key=_rank, default=None)


def _rank(stream: av.AudioStream) -> tuple[bool, bool, int]:
    """What makes a stream the one that is meant; the first of those that are equal is."""
    from av.stream import Disposition

    return (
        not _is_beside(stream),
        bool(stream.disposition & Disposition.default),
        stream.codec_context.channels,
    )


def _is_beside(stream: av.AudioStream) -> bool:
    """Whether a stream is a commentary or another sound beside the main one."""
    return any(word in _BESIDE for word in _dispositions(stream)) or bool(_TITLE_BESIDE.search(_title(stream)))


def _is_readable(stream: av.AudioStream) -> bool:
    context = stream.codec_context
    return context is not None and bool(context.sample_rate and context.channels)


def _speaks(stream: av.AudioStream, language: str) -> bool:
    tag, wanted = _language(stream), language.lower()
    return tag == wanted or tag.partition("-")[0] == wanted


def _language(stream: av.AudioStream) -> str:
    return (stream.metadata.get("language") or "").lower()


def _title(stream: av.AudioStream) -> str:
    # MP4 and MOV have a track's name as its handler's, which for most is 'SoundHandler'.
    return stream.metadata.get("title") or stream.metadata.get("handler_name") or ""


def _dispositions(stream: av.AudioStream) -> list[str]:
    from av.stream import Disposition

    return [str(flag.name) for flag in Disposition if stream.disposition & flag]


def _give(streams: Sequence[av.AudioStream]) -> str:
    """The tracks that there are, as the end of a message."""
    return f"give one of those it has as audio_track: {'; '.join(map(_described, range(1, 1 + len(streams)), streams))}"


def _described(number: int, stream: av.AudioStream) -> str:
    """A track in a few words: 2, aac, stereo, eng, 'Commentary' (default, comment)."""
    context = stream.codec_context
    words = [str(number)]
    if context is not None:
        usual = {0: "", 1: "mono", 2: "stereo"}  # where a file states no more than how many channels there are
        words += [context.name, usual.get(context.channels, context.layout.name)]
    title = " ".join(_title(stream).split())
    words += [_language(stream), f"'{title[:60]}'" if title and title != "SoundHandler" else ""]
    dispositions = _dispositions(stream)
    return ", ".join(filter(None, words)) + (f" ({', '.join(dispositions)})" if dispositions else "")
