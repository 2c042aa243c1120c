"""Chained Ogg: every link is read, however it is coded, from files, file objects and pipes."""

import io
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from max_whisper.audio import AudioWarning, Samples, load_audio, open_recording
from max_whisper.audio.ogg import Link, Links
from max_whisper.errors import AudioError
from tests.audio.containers import noise, write

CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
SAMPLES = Path(__file__).resolve().parents[2] / "audio_samples"

# codec, rate, layout
CODINGS = {
    "opus": ("libopus", 48_000, "mono"),
    "opus stereo": ("libopus", 48_000, "stereo"),
    "vorbis": ("vorbis", 44_100, "stereo"),
    "vorbis 22 kHz": ("vorbis", 22_050, "stereo"),
    "flac": ("flac", 16_000, "mono"),
    "flac stereo": ("flac", 44_100, "stereo"),
}


class OnlyForward(io.BytesIO):
    """A pipe that gives no more than so many bytes at once."""

    def __init__(self, content: bytes, most: int = 1 << 16) -> None:
        super().__init__(content)
        self._most = most

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        return super().read(self._most)


def link(coding: str, seconds: float = 2.0, seed: int = 0) -> bytes:
    codec, rate, layout = CODINGS[coding]
    target = io.BytesIO()
    write(target, noise(seconds, rate, seed), codec, rate=rate, layout=layout, format="ogg")
    return target.getvalue()


def quietly(source: object) -> Samples:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_audio(source)  # type: ignore[arg-type]


def alone(links: Sequence[bytes]) -> Samples:
    """The samples of each link as a file of its own, one after the other."""
    return np.concatenate([quietly(io.BytesIO(content)) for content in links])


def likeness(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    return float(np.corrcoef(first, second)[0, 1])


CHAINS = [
    ["opus", "opus stereo"],
    ["opus stereo", "opus"],
    ["flac", "flac stereo", "flac"],
    ["vorbis", "vorbis 22 kHz"],
    ["opus", "flac", "vorbis", "opus stereo"],
]


@pytest.mark.parametrize("chain", CHAINS, ids=" + ".join)
def test_links_that_are_coded_differently(chain: list[str], tmp_path: Path) -> None:
    links = [link(coding, seed=number) for number, coding in enumerate(chain)]
    expected = alone(links)
    path = tmp_path / "radio.ogg"
    path.write_bytes(b"".join(links))
    assert len(expected) == pytest.approx(2 * len(chain) * 16_000, abs=500)
    assert np.array_equal(quietly(path), expected)
    assert np.array_equal(quietly(io.BytesIO(b"".join(links))), expected)
    for most in (1, 1000, 1 << 16):
        assert np.array_equal(quietly(OnlyForward(b"".join(links), most)), expected)


@pytest.mark.parametrize("coding", CODINGS)
def test_links_that_are_coded_alike(coding: str, tmp_path: Path) -> None:
    """Their streams may have the same number too: here they are the same file."""
    links = [link(coding, seed=1)] * 3
    path = tmp_path / "titles.ogg"
    path.write_bytes(b"".join(links))
    samples, one = quietly(path), quietly(io.BytesIO(links[0]))
    assert len(samples) == pytest.approx(3 * len(one), abs=3)
    for number in range(3):
        # At other rates than 16 kHz the resampler goes on from one link to the next.
        start = round(number * len(samples) / 3)
        assert likeness(samples[start + 100 : start + 30_000], one[100:30_000]) > 0.5  # another noise has 0
    if coding == "flac":
        assert np.array_equal(samples, np.concatenate([one] * 3))


def test_several_passes() -> None:
    content = link("opus") + link("flac")
    recording = open_recording(OnlyForward(content))
    first, second = (np.concatenate(list(recording.blocks())) for _ in range(2))
    assert np.array_equal(first, second)
    assert len(first) == pytest.approx(64_000, abs=500)


def test_a_gap_and_a_late_link() -> None:
    """The time goes on from link to link; within one, gaps are silence."""
    links = [io.BytesIO(), io.BytesIO(), io.BytesIO()]
    write(links[0], noise(2), "flac", format="ogg")
    write(links[1], noise(2, 48_000), "libopus", rate=48_000, format="ogg", start=500)
    write(links[2], noise(3, 48_000), "libopus", rate=48_000, format="ogg", gaps=[(2, 5)])
    samples = quietly(io.BytesIO(b"".join(part.getvalue() for part in links)))
    assert len(samples) == pytest.approx((2 + 2 + 8) * 16_000, abs=500)
    loud = np.abs(samples[: len(samples) // 1600 * 1600].reshape(-1, 1600)).max(axis=1) > 0.02
    assert loud[:58].all()
    assert not loud[72:108].any()


def pages_of(content: bytes) -> list[bytes]:
    links = Links(io.BytesIO(content), "it")
    pages = []
    while page := links.page():
        pages.append(page)
        links.take()
    return pages


@pytest.mark.parametrize("coding", CODINGS)
def test_a_station_that_is_joined_in_its_middle(coding: str) -> None:
    """Headers, and then pages of any time: the recording starts with its sound."""
    codec, rate, layout = CODINGS[coding]
    target = io.BytesIO()
    short_pages = {"page_duration": "200000"}
    write(target, noise(12, rate), codec, rate=rate, layout=layout, format="ogg", options=short_pages)
    pages = pages_of(target.getvalue())
    n_headers = next(
        number for number, page in enumerate(pages) if int.from_bytes(page[6:14], "little", signed=True) > 0
    )
    middle = len(pages) // 2
    samples = quietly(io.BytesIO(b"".join(pages[:n_headers] + pages[middle:])))
    whole = quietly(io.BytesIO(target.getvalue()))
    assert len(samples) == pytest.approx(len(whole) / 2, abs=8000)
    assert likeness(samples[-32_000:-4000], whole[-32_000:-4000]) > 0.9


class TestDamage:
    def test_cut_short(self, tmp_path: Path) -> None:
        content = link("opus") + link("flac")
        path = tmp_path / "half.ogg"
        path.write_bytes(content[:-2000])
        with pytest.warns(AudioWarning, match="is damaged or cut short: packets that cannot be decoded are left out"):
            assert 2 * 16_000 < len(load_audio(path)) < 4 * 16_000

    def test_a_link_that_cannot_be_read(self, tmp_path: Path) -> None:
        first, broken, last = link("opus"), bytearray(link("vorbis")), link("flac")
        second_header = broken.index(b"\x03vorbis")
        broken[second_header + 7 : second_header + 500] = bytes(493)
        path = tmp_path / "broken.ogg"
        path.write_bytes(first + broken + last)
        with pytest.warns(AudioWarning, match="damaged or cut short"):
            samples = load_audio(path)
        assert np.array_equal(samples, alone([first, last]))

    def test_bytes_between_links_and_after_them(self) -> None:
        rng = np.random.default_rng(0)
        links = [link("opus"), link("flac")]
        between = [rng.integers(0, 255, size, np.uint8).tobytes() for size in (10, 5000)]
        samples = quietly(io.BytesIO(links[0] + between[0] + links[1] + between[1]))
        assert np.array_equal(samples, alone(links))

    def test_a_flag_that_was_flipped_begins_no_link(self) -> None:
        target = io.BytesIO()
        write(target, noise(3), "flac", format="ogg", options={"page_duration": "200000"})
        pages = pages_of(target.getvalue())
        flipped = bytearray(pages[5])
        flipped[5] |= 2
        changed = b"".join([*pages[:5], flipped, *pages[6:]])
        parts = list(Links(io.BytesIO(changed), "it"))
        assert len(parts) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AudioWarning)
            assert len(load_audio(io.BytesIO(changed))) == 48_000  # the lost page is a gap

    def test_no_link_has_sound(self) -> None:
        with pytest.raises(AudioError, match="is not audio or video that FFmpeg can read"):
            load_audio(io.BytesIO(b"OggS" + bytes(5000)))


class TestPages:
    @pytest.mark.parametrize("most", [1, 7, 1 << 16])
    def test_links_have_all_bytes(self, most: int) -> None:
        contents = [link("opus", 0.5), link("flac", 0.5), (SAMPLES / "greeting.ogg").read_bytes()]
        links = Links(OnlyForward(b"".join(contents), most), "it")
        assert [b"".join(chunks_of(part)) for part in links] == contents

    @pytest.mark.parametrize("seed", range(20))
    def test_no_byte_is_lost_of_a_damaged_file(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        content = bytearray(link("opus", 0.3) + link("flac", 0.3))
        for place in rng.integers(0, len(content), 30):
            content[place] = rng.integers(256)
        content = content[: rng.integers(1, len(content))]
        links = Links(io.BytesIO(content), "it")
        assert b"".join(chunk for part in links for chunk in chunks_of(part)) == content

    def test_what_was_left_of_a_link_is_passed_over(self) -> None:
        contents = [link("opus"), link("flac")]
        beginnings = [part.read(4000) for part in Links(io.BytesIO(b"".join(contents)), "it")]
        assert [content.startswith(beginning) for content, beginning in zip(contents, beginnings, strict=True)] == [
            True,
            True,
        ]

    def test_decoding_begins_before_the_end_is_there(self) -> None:
        target = io.BytesIO()
        write(target, noise(60, 48_000), "libopus", rate=48_000, format="ogg")
        source = OnlyForward(target.getvalue() * 3, 4096)
        next(open_recording(source).blocks())
        assert source.tell() < len(target.getvalue()) * 3 / 2


def chunks_of(part: Link) -> Iterator[bytes]:
    while chunk := part.read(999):
        yield chunk


@pytest.mark.skipif(not CASES.exists(), reason="the cases are not here")
def test_case() -> None:
    samples = quietly(CASES / "chained_opus.ogg")
    assert len(samples) == pytest.approx(6.74 * 16_000, abs=100)
    second = samples[round(3.2 * 16_000) :]
    assert np.abs(second).max() > 0.1


def titled(layout: str, language: str | None, seed: int) -> bytes:
    """A link of Opus with the language of its track."""
    target = io.BytesIO()
    write(target, noise(2.0, 48_000, seed), "libopus", rate=48_000, layout=layout, format="ogg", language=language)
    return target.getvalue()


def test_a_link_without_the_track_that_is_wanted_is_told() -> None:
    chain = titled("mono", "eng", 1) + titled("mono", None, 2)
    with pytest.warns(AudioWarning, match="is read only in part: .* has no audio track in 'eng'"):
        samples = load_audio(io.BytesIO(chain), audio_track="eng")
    assert len(samples) == pytest.approx(32_000, abs=500)


@pytest.mark.parametrize("channel", [2, "right"])
def test_a_mono_title_among_stereo_ones_has_every_channel(channel: int | str) -> None:
    chain = link("opus stereo", seed=1) + link("opus", seed=2)
    samples = load_audio(io.BytesIO(chain), channel=channel)
    assert len(samples) == pytest.approx(64_000, abs=500)
    assert likeness(samples[33_000:63_000], alone([link("opus", seed=2)])[1_000:31_000]) > 0.5
