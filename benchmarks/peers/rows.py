"""What is measured, and with which programs."""

from dataclasses import dataclass
from importlib import import_module

from max_whisper.errors import OptionError

from .peer import BEAMS, Peer


@dataclass(frozen=True)
class Row:
    """One thing that is measured; less is better in all."""

    name: str
    title: str
    unit: str  # ms, s or MB


STEP_ROWS = (
    Row("log_mel", "log-mel, 30 s", "ms"),
    Row("encoder", "encoder, 30 s", "ms"),
    Row("prompt", "prompt, 4 tokens", "ms"),
    Row("long_prompt", "prompt, 224 tokens", "ms"),
    Row("token", "a token, greedy", "ms"),
    Row("beam_token", f"a token, {BEAMS} beams", "ms"),
)
RECORDING_ROWS = (
    Row("recording", "recording, alone", "s"),
    Row("batched", "recording, in batches", "s"),
)
START_ROWS = (
    Row("start_warm", "start to first text, warm", "s"),
    Row("start_cold", "start to first text, cold", "s"),
)
MEMORY_ROWS = (
    Row("memory", "peak memory, alone", "MB"),
    Row("batched_memory", "peak memory, in batches", "MB"),
)
ROWS = {row.name: row for row in (*STEP_ROWS, *RECORDING_ROWS, *START_ROWS, *MEMORY_ROWS)}


@dataclass(frozen=True)
class Program:
    """A program in one precision."""

    name: str
    precision: str

    def __str__(self) -> str:
        return f"{self.name} {self.precision}"

    @property
    def checkpoint(self) -> str:
        """Its file format, one of `checkpoints.FORMATS`."""
        kind = _PROGRAMS[self.name][2]
        return kind.format(precision=self.precision)

    @property
    def is_ours(self) -> bool:
        return self.name == OURS

    @property
    def peer(self) -> type[Peer]:
        """The class that measures it; importing it imports nothing of the program."""
        module, kind, _ = _PROGRAMS[self.name]
        peer: type[Peer] = getattr(import_module(module, __package__), kind)
        return peer


OURS = "max-whisper"

# The module and class that measure a program, and the format of its checkpoint.
_PROGRAMS = {
    "openai-whisper": (".openai_peer", "OpenAIPeer", "openai"),
    "transformers": (".transformers_peer", "TransformersPeer", "hugging-face"),
    "faster-whisper": (".faster_peer", "FasterPeer", "ctranslate2-{precision}"),
    "whisper.cpp": (".cpp_peer", "CppPeer", "ggml-{precision}"),
    OURS: (".max_peer", "MaxPeer", "max-whisper"),
}

PEERS = (
    Program("openai-whisper", "float32"),
    Program("transformers", "float32"),
    Program("transformers", "bfloat16"),
    Program("faster-whisper", "float32"),
    Program("faster-whisper", "int8"),
    Program("whisper.cpp", "f16"),
    Program("whisper.cpp", "q8_0"),
)


def choose_programs(names: str, compute_types: str) -> list[Program]:
    """Peers by the program's name, or with a precision as in `whisper.cpp:q8_0`, and ours in each compute type.

    Raises OptionError for a name that is none.
    """
    chosen = []
    for name in filter(None, map(str.strip, names.split(","))):
        found = [program for program in PEERS if name in (program.name, f"{program.name}:{program.precision}")]
        if not found:
            known = ", ".join(dict.fromkeys(program.name for program in PEERS))
            raise OptionError(f"no peer is named {name!r}: choose from {known}; or whisper.cpp:q8_0 for one precision")
        chosen += found
    ours = [Program(OURS, kind) for kind in filter(None, map(str.strip, compute_types.split(",")))]
    return list(dict.fromkeys([*chosen, *ours]))
