"""Channels are chosen by number and name; a mix in which they cancel each other is warned of, and no other."""

import shutil
import subprocess
import sys
import warnings
import wave
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from max_whisper import load_model
from max_whisper.audio import AudioWarning, load_audio, open_recording
from max_whisper.audio.channels import MixWatch
from max_whisper.errors import AudioError, OptionError

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "audio_samples"
CASE = ROOT.parent / "shared" / "cases" / "stereo_out_of_phase.wav"
RATE = 16_000

Signal = NDArray[np.float64]


@pytest.fixture(scope="module")
def voice() -> Signal:
    """12 s of two people who speak."""
    return load_audio(SAMPLES / "dialogue.flac")[: 12 * RATE].astype(np.float64)


def write(path: Path, channels: Sequence[Signal], layout: str, codec: str = "pcm_s16le") -> Path:
    """A file of this layout, at 16 kHz."""
    planes = np.stack(channels).clip(-1, 1).astype(np.float32)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(planes.T.reshape(1, -1).copy(), format="flt", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        resampler = av.AudioResampler(stream.codec_context.format or "s16", layout, RATE, frame_size=1024)
        for converted in [*resampler.resample(frame), *resampler.resample(None)]:
            if converted is not None:
                output.mux(stream.encode(converted))
        output.mux(stream.encode(None))
    return path


def write_wave(path: Path, channels: Sequence[Signal]) -> Path:
    """A WAV file that states no more than how many channels it has."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.stack(channels, axis=1).clip(-1, 1) * 32767).astype("<i2").tobytes())
    return path


def warned(path: Path, **options: int | str) -> list[str]:
    """The warnings with which a file is read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_audio(path, **options)  # type: ignore[arg-type]
    return [str(warning.message) for warning in caught]


def noise(length: int, seed: int, loudness: float) -> Signal:
    return np.random.default_rng(seed).normal(0, loudness, length)


class TestCancelling:
    @pytest.mark.skipif(not CASE.is_file(), reason="the recording is not here")
    def test_a_recording_out_of_phase(self) -> None:
        with pytest.warns(AudioWarning) as caught:
            mix = load_audio(CASE)
        assert not mix.any()
        assert [str(warning.message) for warning in caught] == [
            f"'{CASE}' has channels out of phase, which cancel each other in the mix (100% of the sound); "
            "give one of them as channel: 1 (FL), 2 (FR)"
        ]
        assert warned(CASE, channel="left") == []
        assert np.abs(load_audio(CASE, channel="left")).max() > 0.5

    @pytest.mark.parametrize(
        ("gain", "suffix", "codec"),
        [
            (1.0, "wav", "pcm_s16le"),
            (0.9, "wav", "pcm_s24le"),
            (0.7, "wav", "pcm_u8"),
            (0.9, "flac", "flac"),
            (0.9, "mp3", "libmp3lame"),
            (0.8, "m4a", "aac"),
        ],
    )
    def test_wholly_and_in_part(self, tmp_path: Path, voice: Signal, gain: float, suffix: str, codec: str) -> None:
        path = write(tmp_path / f"talk.{suffix}", [voice, -gain * voice], "stereo", codec)
        (line,) = warned(path)
        assert " has channels out of phase, " in line

    def test_with_noise_of_their_own(self, tmp_path: Path, voice: Signal) -> None:
        left, right = (noise(len(voice), seed, 0.1 * voice.std()) for seed in (1, 2))
        assert len(warned(write_wave(tmp_path / "talk.wav", [voice + left, right - voice]))) == 1

    def test_with_a_delay(self, tmp_path: Path, voice: Signal) -> None:
        assert len(warned(write_wave(tmp_path / "talk.wav", [voice, -np.roll(voice, 1)]))) == 1

    def test_in_the_second_half(self, tmp_path: Path, voice: Signal) -> None:
        sign = np.where(np.arange(len(voice)) < len(voice) // 2, 1, -1)
        assert len(warned(write_wave(tmp_path / "talk.wav", [voice, sign * voice]))) == 1

    def test_quietly(self, tmp_path: Path, voice: Signal) -> None:
        assert len(warned(write_wave(tmp_path / "talk.wav", [0.005 * voice, -0.005 * voice]))) == 1

    @pytest.mark.parametrize("layout", ["4.0", "5.1", "7.1"])
    def test_in_front_of_silent_others(self, tmp_path: Path, voice: Signal, layout: str) -> None:
        silent = [np.zeros(len(voice))] * (av.AudioLayout(layout).nb_channels - 2)
        (line,) = warned(write(tmp_path / "film.wav", [voice, -voice, *silent], layout))
        names = [channel.name for channel in av.AudioLayout(layout).channels]
        assert line.endswith(", ".join(f"{number} ({name})" for number, name in enumerate(names, 1)))

    def test_it_is_said_once_for_all_passes(self, tmp_path: Path, voice: Signal) -> None:
        recording = open_recording(write_wave(tmp_path / "talk.wav", [voice, -voice]))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                assert not any(block.any() for block in recording.blocks())
        assert len(caught) == 1

    def test_it_is_said_once_for_sounds_that_follow_each_other(self, voice: Signal) -> None:
        def frames(sign: int) -> Iterator[av.AudioFrame]:
            for start in range(0, len(voice), 1024):
                piece = voice[start : start + 1024]
                planes = np.stack([piece, sign * piece]).astype(np.float32)
                frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
                frame.sample_rate = RATE
                yield frame

        said: list[str] = []
        watch = MixWatch("the station", said.append)
        for sign in (1, -1, -1):
            assert sum(frame.samples for frame in watch.over(frames(sign))) == len(voice)
        assert len(said) == 1
        assert said[0].startswith("the station has channels out of phase, which cancel each other in the mix (50% of")

    def test_of_a_long_one_it_is_said_before_its_end(self, tmp_path: Path, voice: Signal) -> None:
        long = np.tile(voice, 1 + 120 * RATE // len(voice))
        blocks = open_recording(write_wave(tmp_path / "talk.wav", [long, -long])).blocks()
        with pytest.warns(AudioWarning, match="out of phase"):
            list(islice(blocks, 12))  # 48 s of more than 120

    def test_the_transcription_warns_and_the_channel_has_the_words(self, tmp_path: Path, voice: Signal) -> None:
        path = write_wave(tmp_path / "talk.wav", [voice, -voice])
        model = load_model("nano", device="cpu")
        with pytest.warns(AudioWarning, match="out of phase"):
            assert model.transcribe(path).text.strip() == ""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            text = model.transcribe(path, channel="right").text
            (listed,) = model.transcribe_many([path], channel=2)
            alone = model.transcribe(write_wave(tmp_path / "right.wav", [-voice])).text
        assert len(alone.split()) > 10
        assert text == alone == listed.text  # type: ignore[union-attr]


class TestNoFalseAlarm:
    """Ordinary sound of several channels."""

    @pytest.mark.parametrize(
        "of",
        [
            lambda voice: [voice, voice],
            lambda voice: [voice, np.zeros(len(voice))],
            lambda voice: [voice, noise(len(voice), 0, 0.003)],
            lambda voice: [voice, np.roll(voice, len(voice) // 3)],  # two who speak
            lambda voice: [noise(len(voice), 1, 0.1), noise(len(voice), 2, 0.1)],
            lambda voice: [0.9 * voice, 0.2 * voice],
            lambda voice: [voice, -0.3 * voice],
            lambda voice: [voice, np.roll(voice, 16)],  # two microphones 34 cm apart
            lambda voice: [voice, np.roll(voice, 100)],
            lambda voice: [voice + 0.05, voice - 0.05],  # converters that are off by a constant
            lambda voice: [voice + noise(len(voice), 3, 0.01), voice - noise(len(voice), 3, 0.01)],  # a wide room
            lambda voice: [np.zeros(len(voice)), np.zeros(len(voice))],
        ],
    )
    def test_stereo(self, tmp_path: Path, voice: Signal, of: object) -> None:
        assert warned(write_wave(tmp_path / "talk.wav", of(voice))) == []  # type: ignore[operator]

    def test_an_effect_that_passes(self, tmp_path: Path, voice: Signal) -> None:
        sign = np.where(np.arange(len(voice)) < len(voice) // 20, -1, 1)
        assert warned(write_wave(tmp_path / "talk.wav", [voice, sign * voice])) == []

    def test_music_of_many_instruments(self, tmp_path: Path) -> None:
        """Chords whose notes stand at random places, with phases of their own left and right."""
        rng, time = np.random.default_rng(0), np.arange(2 * RATE) / RATE
        both = np.zeros((2, 14 * RATE))
        for start in range(0, 12 * RATE, RATE // 2):
            for pitch in rng.uniform(80, 2000, 4):
                phases, gains = rng.uniform(0, 2 * np.pi, (2, 1)), rng.uniform(0, 0.1, (2, 1))
                notes = gains * np.exp(-3 * time) * np.sin(2 * np.pi * pitch * time + phases)
                both[:, start : start + len(time)] += notes
        assert warned(write_wave(tmp_path / "music.wav", list(both))) == []

    def test_a_voice_in_the_middle_of_music_out_of_phase(self, tmp_path: Path, voice: Signal) -> None:
        music = 0.5 * np.roll(voice[::-1], 777)
        others = [np.zeros(len(voice))] * 3
        assert warned(write(tmp_path / "film.wav", [music, -music, voice, *others], "5.1")) == []


class TestChosen:
    CHANNELS = ("FL", "FR", "FC", "LFE", "BL", "BR")

    @pytest.fixture
    def film(self, tmp_path: Path) -> Path:
        time = np.arange(RATE) / RATE
        channels = [0.5 * np.sin(2 * np.pi * 200 * number * time) for number in range(1, 7)]
        return write(tmp_path / "film.wav", channels, "5.1")

    @staticmethod
    def by_ffmpeg(path: Path, number: int) -> NDArray[np.float32]:
        """The channel as the ffmpeg program gives it."""
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-af", f"pan=mono|c0=c{number - 1}", "-ar", str(RATE)]
        done = subprocess.run([*command, "-f", "s16le", "-"], capture_output=True, check=True)
        return np.frombuffer(done.stdout, np.int16) / np.float32(32768)

    @pytest.mark.parametrize(
        ("channel", "number"),
        [(1, 1), (6, 6), ("4", 4), ("left", 1), ("Right", 2), ("center", 3), ("FC", 3), ("lfe", 4), ("back left", 5)],
    )
    def test_by_number_and_by_name(self, film: Path, channel: int | str, number: int) -> None:
        samples = load_audio(film, channel=channel)
        assert np.abs(np.fft.rfft(samples)).argmax() == 200 * number
        assert np.abs(samples).max() == pytest.approx(0.5, abs=1e-4)  # at its own loudness

    @pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
    @pytest.mark.parametrize(
        ("codec", "suffix", "layout"),
        [
            ("pcm_u8", "wav", "stereo"),
            ("pcm_s16le", "wav", "stereo"),
            ("pcm_s24le", "wav", "5.1"),
            ("pcm_s32le", "wav", "stereo"),
            ("pcm_f32le", "wav", "stereo"),
            ("pcm_f64le", "wav", "7.1"),
            ("pcm_s64le", "nut", "stereo"),
            ("flac", "flac", "5.1"),
            ("alac", "m4a", "stereo"),
            ("wavpack", "wv", "7.1"),
        ],
    )
    def test_as_ffmpeg_gives_it(self, tmp_path: Path, voice: Signal, codec: str, suffix: str, layout: str) -> None:
        n_channels = av.AudioLayout(layout).nb_channels
        path = write(
            tmp_path / f"talk.{suffix}", [np.roll(voice[:RATE], 100 * n) for n in range(n_channels)], layout, codec
        )
        for number in (1, n_channels):
            ours, theirs = load_audio(path, channel=number), self.by_ffmpeg(path, number)
            # The program rounds once more where it turns wider samples into 16 bits.
            assert np.abs(ours - theirs).max() <= (0 if codec in ("pcm_s16le", "pcm_u8") else 1 / 32768)

    def test_of_a_wave_file_that_states_a_count_alone(self, tmp_path: Path, voice: Signal) -> None:
        left = write_wave(tmp_path / "mono.wav", [voice])
        path = write_wave(tmp_path / "talk.wav", [voice, 0.5 * voice])
        for channel in (1, "left", "FL"):
            assert np.array_equal(load_audio(path, channel=channel), load_audio(left))
        path = write_wave(tmp_path / "room.wav", [0 * voice, voice, 0.1 * voice])
        assert np.array_equal(load_audio(path, channel=2), load_audio(left))
        for name in ("left", "LFE"):  # the channels of three microphones have no names
            with pytest.raises(AudioError, match=f"has no channel {name}; give one of those it has: 1, 2, 3$"):
                load_audio(path, channel=name)

    def test_one_that_is_not_there(self, film: Path, tmp_path: Path, voice: Signal) -> None:
        listed = ", ".join(f"{number} ({name})" for number, name in enumerate(self.CHANNELS, 1))
        for channel in (7, "SL"):
            with pytest.raises(AudioError) as caught:
                load_audio(film, channel=channel)
            assert str(caught.value) == f"'{film}' has no channel {channel}; give one of those it has: {listed}"
        mono = write_wave(tmp_path / "mono.wav", [voice])
        assert np.array_equal(load_audio(mono, channel=1), load_audio(mono))
        with pytest.raises(AudioError, match=r"has no channel 2; give one of those it has: 1 \(FC\)$"):
            load_audio(mono, channel=2)

    def test_where_a_part_is_mono(self, tmp_path: Path, voice: Signal) -> None:
        second = RATE * 2
        parts = []
        for number, channels in enumerate(([voice[:second], 0 * voice[:second]], [voice[:second]])):
            layout = "stereo" if len(channels) == 2 else "mono"
            parts.append(write(tmp_path / f"{number}.aac", channels, layout, "aac").read_bytes())
        joined = tmp_path / "joined.aac"
        joined.write_bytes(b"".join(parts))
        samples = load_audio(joined, channel="left")
        assert samples[:second].std() == pytest.approx(samples[second : 2 * second].std(), rel=0.1)

    def test_of_an_array(self) -> None:
        with pytest.raises(OptionError, match=r"^channel: it is for files, and an array"):
            load_audio(np.zeros(RATE, np.float32), channel="left")


class TestLayoutsOfOtherKinds:
    """Channels in another order than FFmpeg's, and those for which it has no mix."""

    @staticmethod
    def in_other_order(path: Path, voice: Signal, order: Sequence[str]) -> Path:
        """A MOV or CAF file whose channels stand in the order that is named, each quieter than the one before it."""
        panned = "|".join(f"c{number}={1 / (1 + number)}*c0" for number in range(len(order)))
        mono = write_wave(path.with_name("mono.wav"), [voice[: 2 * RATE]])
        command = ["ffmpeg", "-v", "error", "-i", str(mono), "-af", f"pan={'+'.join(order)}|{panned}", str(path)]
        subprocess.run([*command[:-1], "-c:a", "pcm_s16le", str(path)], check=True)
        return path

    @pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg program")
    @pytest.mark.parametrize(
        ("suffix", "order"), [("mov", ["FR", "FL"]), ("mov", ["FC", "FL", "FR"]), ("caf", ["FR", "FL"])]
    )
    def test_channels_in_another_order(self, tmp_path: Path, voice: Signal, suffix: str, order: list[str]) -> None:
        path = self.in_other_order(tmp_path / f"talk.{suffix}", voice, order)
        code = (
            "import sys; from max_whisper.audio import load_audio\n"
            "for channel in (None, 1, 2): print(len(load_audio(sys.argv[1], channel=channel)))"
        )
        # In a process of its own, which PyAV would end.
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout.split()) == (0, [str(2 * RATE)] * 3), done.stderr
        if suffix == "mov":  # whose header has the names
            loudest = load_audio(path, channel=order[0])
            assert np.array_equal(loudest, load_audio(path, channel=1))
            assert load_audio(path, channel=order[1]).std() == pytest.approx(loudest.std() / 2, rel=1e-3)
            with pytest.raises(AudioError, match=rf"has no channel LFE; .*: 1 \({order[0]}\), 2 \({order[1]}\)"):
                load_audio(path, channel="LFE")
        with pytest.raises(AudioError, match=r"has no audio track 2; .*: 1, pcm_s16le, "):
            load_audio(path, audio_track=2)

    @pytest.mark.parametrize("n_channels", [9, 20, 40])
    def test_channels_that_cannot_be_mixed(self, tmp_path: Path, voice: Signal, n_channels: int) -> None:
        path = write_wave(tmp_path / "room.wav", [voice[:RATE] / (1 + number) for number in range(n_channels)])
        with pytest.raises(AudioError) as caught:
            load_audio(path)
        assert str(caught.value) == (
            f"'{path}' has channels that FFmpeg cannot mix to one; give one of them as channel: "
            + ", ".join(map(str, range(1, n_channels + 1)))
        )
        first = load_audio(write_wave(tmp_path / "first.wav", [voice[:RATE]]))
        assert np.array_equal(load_audio(path, channel=1), first)
        assert np.abs(load_audio(path, channel=n_channels) - first / n_channels).max() < 2 / 32768


class TestFloatFiles:
    """Float samples in a file are as much in [-1, 1] as those in an array."""

    @pytest.mark.parametrize(("codec", "dtype"), [("pcm_f32le", "<f4"), ("pcm_f64le", "<f8")])
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_on_the_scale_of_integers(
        self, tmp_path: Path, voice: Signal, codec: str, dtype: str, n_channels: int
    ) -> None:
        path = tmp_path / "talk.wav"
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=RATE, layout="mono" if n_channels == 1 else "stereo")
            samples = np.repeat((voice * 32768)[:, None], n_channels, axis=1)
            packet = av.Packet(samples.astype(dtype).tobytes())
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            output.start_encoding()
            output.mux(packet)
        for options in ({}, {"channel": 1}):
            (line,) = warned(path, **options)
            assert line.startswith(f"'{path}' has float samples up to ")
            assert line.endswith(", which are cut at 1; write it again with samples in [-1, 1], or as integers")

    def test_a_little_beyond_one(self, tmp_path: Path, voice: Signal) -> None:
        path = write(tmp_path / "talk.wav", [voice], "mono", "pcm_f32le")
        content = bytearray(path.read_bytes())
        content[-4000:-3996] = np.float32(1.9).tobytes()
        path.write_bytes(content)
        assert warned(path) == []
