"""The kinds of CPU by their names, and what each has, are the same in Mojo and in Python."""

import re

from max_whisper.cpu import _NEEDED
from max_whisper.graphs import KERNELS
from max_whisper.graphs.fused import INSTRUCTIONS

ENTRY = re.compile(r'^    _(x86|arm)\("(\w+)",\s*(.*)\),', re.MULTILINE)
FEATURES = {
    "amx": {"amx_tile", "amx_int8", "amx_bf16"},
    "avx512": {"avx512bw"},
    "bf16": {"avx512_bf16", "avx512vbmi"},
    "vnni": {"avx512_vnni", "avx_vnni"},
    "dotprod": {"asimddp"},
    "i8mm": {"i8mm", "bf16"},
}
"""What Linux calls the features of each column of the table in Mojo; of vnni one is enough."""


def entries() -> dict[str, dict[str, str]]:
    """The table in instructions/isa.mojo: of each name its columns."""
    text = (KERNELS / "instructions/isa.mojo").read_text()
    return {
        name: {"family": family, **dict(re.findall(r"(\w+)=(\w+)", columns))}
        for family, name, columns in ENTRY.findall(text)
    }


def test_the_names_are_the_same_in_the_same_order() -> None:
    assert tuple(entries()) == INSTRUCTIONS == tuple(_NEEDED)


def test_each_kind_has_in_mojo_what_it_needs_of_a_cpu() -> None:
    for name, columns in entries().items():
        # AMX is said to have all of AVX-512: no CPU has tiles without it.
        needed = _NEEDED[name] | (_NEEDED["avx512_bf16"] if name == "amx" else set())
        for column, features in FEATURES.items():
            has = columns.get(column) == "True"
            found = bool(features & needed) if column == "vnni" else features <= needed
            assert has == found, (name, column)
        lanes = {"avx512bw": 16, "avx2": 8}
        widest = max((lanes[feature] for feature in needed & set(lanes)), default=4)
        assert int(columns.get("lanes", 4)) == widest, name
