"""whisper.cpp, through the package pywhispercpp, built from source for this machine's CPU."""

import ctypes
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from .ggml import endless_twin
from .peer import BEAMS, FIRST_STEPS, STEPS, NotInstalledError, Peer, Text, Work, seconds

_BUILD = "build it for this CPU: pip install --no-binary pywhispercpp '.[peers]'"

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "whisper_version": (ctypes.c_char_p, []),
    "whisper_print_system_info": (ctypes.c_char_p, []),
    "whisper_init_from_file": (ctypes.c_void_p, [ctypes.c_char_p]),
    "whisper_pcm_to_mel": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
    "whisper_encode": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
    "whisper_decode": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int, ctypes.c_int],
    ),
    "whisper_get_logits": (ctypes.POINTER(ctypes.c_float), [ctypes.c_void_p]),
    "whisper_n_vocab": (ctypes.c_int, [ctypes.c_void_p]),
}


class CppPeer(Peer):
    how: ClassVar[dict[str, str]] = {
        "encoder": "`whisper_encode`, which computes the decoder's cross-attention keys and values too",
        "prompt": "`whisper_decode`; the cross-attention's keys and values are the encoder's work here",
        "long_prompt": "`whisper_decode`; the cross-attention's keys and values are the encoder's work here",
        "token": "`whisper_decode` of one token, and the arg max; without its rules for logits",
        "beam_token": "the difference of two texts, 8 and 72 tokens long, in its own timings of decoding and sampling; "
        "of a trained model with the logits of special tokens set to zero, since it cannot be told to go on at the end",
        "recording": "it takes a model of two decoder layers, such as nano, for a distilled one and gives it no "
        "timestamps (`is_distil`): each window is 30 s long, whatever is said where it ends",
        "batched": "`whisper_full_parallel`: as many parts of the recording at once as there are threads, each with "
        "one thread",
    }

    def __init__(self, path: str, precision: str, work: Work) -> None:
        self._library = _load_library()
        import _pywhispercpp

        self._cpp, self._work = _pywhispercpp, work
        self._path = path
        self._context = self._open(path)
        self._endless: Any = None
        self._steps: int | None = None

    @property
    def about(self) -> str:
        version = self._library.whisper_version().decode()
        return f"whisper.cpp {version}, {' '.join(self._library.whisper_print_system_info().decode().split())}"

    def log_mel(self, window: np.ndarray) -> float:
        return seconds(lambda: self._mel(window))

    def encoder(self, window: np.ndarray) -> float:
        self._mel(window)
        return seconds(self._encode)

    def prompt(self, window: np.ndarray, tokens: list[int]) -> float:
        self._mel(window)
        self._encode()
        return seconds(lambda: self._decode(tokens, 0))

    def token(self, window: np.ndarray) -> float:
        self._mel(window)
        self._encode()
        prompt = self._work.prompt
        logits = self._decode(prompt, 0)

        def steps(logits: np.ndarray) -> None:
            for step in range(STEPS):
                logits = self._decode([int(logits.argmax())], len(prompt) + step)

        return seconds(lambda: steps(logits)) / STEPS

    def beam_token(self, window: np.ndarray) -> float:
        short, short_rows = self._beams(window, FIRST_STEPS)
        long, long_rows = self._beams(window, FIRST_STEPS + STEPS)
        return (long - short) / (long_rows - short_rows) * BEAMS

    def transcribe(self, samples: np.ndarray) -> Iterator[Text]:
        self._full(self._options(self._work.max_tokens), samples)
        return self._texts()

    def transcribe_batched(self, samples: np.ndarray) -> Iterator[Text]:
        options = self._options(self._work.max_tokens)
        options.n_threads = 1
        result = self._cpp.whisper_full_parallel(self._context, options, samples, len(samples), self._work.threads)
        _check("whisper_full_parallel", result)
        return self._texts()

    def _beams(self, window: np.ndarray, tokens: int) -> tuple[float, int]:
        """What it counts itself for a text: seconds of decoding and sampling, and rows decoded (beams by steps)."""
        if self._endless is None:
            self._endless = self._open(endless_twin(self._path))
        options = self._options(tokens, self._cpp.WHISPER_SAMPLING_BEAM_SEARCH)
        options.no_timestamps = True
        options.beam_search = {"beam_size": BEAMS, "patience": -1.0}
        self._cpp.whisper_reset_timings(self._endless)
        _check("whisper_full", self._cpp.whisper_full(self._endless, options, window, len(window)))
        log: list[str] = []
        self._cpp.whisper_log_set(lambda level, text: log.append(text))
        self._cpp.whisper_print_timings(self._endless)
        self._cpp.whisper_log_set(None)
        spent = {
            name: (float(milliseconds) / 1000, int(runs))
            for name, milliseconds, runs in re.findall(r"(\w+) time = +([\d.]+) ms / +(\d+) runs", "".join(log))
        }
        decoding, rows = spent["batchd"]
        return decoding + spent["sample"][0], rows

    def _options(self, tokens: int | None, strategy: Any = None) -> Any:
        options = self._cpp.whisper_full_default_params(strategy or self._cpp.WHISPER_SAMPLING_GREEDY)
        options.n_threads = self._work.threads
        options.language = "en"
        options.no_timestamps = not self._work.timestamps
        options.no_context = True
        options.max_tokens = 0 if tokens is None else tokens - 1  # the index of the last one; 0 is none
        options.greedy = {"best_of": 1}
        options.temperature = options.temperature_inc = 0.0  # no other temperature is tried
        options.print_progress = False
        return options

    def _full(self, options: Any, samples: np.ndarray) -> None:
        _check("whisper_full", self._cpp.whisper_full(self._context, options, samples, len(samples)))

    def _open(self, path: str) -> Any:
        return self._cpp.whisper_init_from_file_with_params(path, self._cpp.whisper_context_default_params())

    def _texts(self) -> Iterator[Text]:
        for segment in range(self._cpp.whisper_full_n_segments(self._context)):
            text = self._cpp.whisper_full_get_segment_text(self._context, segment).decode(errors="replace")
            ids = range(self._cpp.whisper_full_n_tokens(self._context, segment))
            tokens = [self._cpp.whisper_full_get_token_id(self._context, segment, i) for i in ids]
            yield Text(text, sum(token < self._work.end for token in tokens))

    # pywhispercpp passes on one token at a time and one logit of them all, so that steps call the library itself, with
    # a context of their own.

    @property
    def _step_context(self) -> int:
        if self._steps is None:
            self._steps = self._library.whisper_init_from_file(self._path.encode())
        return self._steps

    def _mel(self, window: np.ndarray) -> None:
        data = window.ctypes.data_as(ctypes.c_void_p)
        result = self._library.whisper_pcm_to_mel(self._step_context, data, len(window), self._work.threads)
        _check("whisper_pcm_to_mel", result)

    def _encode(self) -> None:
        _check("whisper_encode", self._library.whisper_encode(self._step_context, 0, self._work.threads))

    def _decode(self, tokens: list[int], n_past: int) -> np.ndarray:
        """Logits [n_vocab] after the last of the tokens; the library gives a row for each and fills in the last."""
        array = (ctypes.c_int * len(tokens))(*tokens)
        result = self._library.whisper_decode(self._step_context, array, len(tokens), n_past, self._work.threads)
        _check("whisper_decode", result)
        n_vocab = self._library.whisper_n_vocab(self._step_context)
        logits = self._library.whisper_get_logits(self._step_context)
        return np.ctypeslib.as_array(logits, (len(tokens), n_vocab))[-1]


def _check(function: str, result: int) -> None:
    if result != 0:
        raise RuntimeError(f"{function} failed with {result}")


def _load_library() -> Any:
    """whisper.cpp's own library, beside the module of pywhispercpp that was built with it.

    A build from source leaves its libraries there without telling them of each other, so they are loaded in turn. The
    ready-made packages, which any CPU can run and none runs fast, keep theirs elsewhere.
    """
    spec = importlib.util.find_spec("_pywhispercpp")
    if spec is None or spec.origin is None:
        raise NotInstalledError(f"pywhispercpp is not installed; {_BUILD}")
    folder, library = Path(spec.origin).parent, None
    for name in ("ggml-base", "ggml-cpu", "ggml", "whisper"):
        found = sorted([*folder.glob(f"lib{name}.so*"), *folder.glob(f"lib{name}.*dylib")], key=lambda p: len(p.name))
        if not found:
            raise NotInstalledError(f"pywhispercpp is a package made for any CPU; {_BUILD}")
        library = ctypes.CDLL(str(found[0]), mode=ctypes.RTLD_GLOBAL)
    for function, (result, arguments) in _SIGNATURES.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library
