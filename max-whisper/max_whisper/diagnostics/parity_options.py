"""Every option beside openai-whisper: one by one and in pairs, on the same weights and the same samples.

Each case runs through openai-whisper's own `transcribe` and through ours. Tokens, text, language, windows, times of
segments, compression ratios and temperatures are to be equal, log probabilities within 1e-3, words equal and their
times within 0.02 s, and the files equal byte for byte. The exit status is 1 where something differs.
"""

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress as Bar

from max_whisper.diagnostics.machine import machine, versions
from max_whisper.diagnostics.option_cases import CASES, FALLBACK_CASES, MODELS
from max_whisper.diagnostics.option_comparison import Pair, compare
from max_whisper.diagnostics.option_report import Report, differing, page, summary
from max_whisper.diagnostics.sampling_parity import FIRST_TOKENS, compare_first_token
from max_whisper.diagnostics.screen import output_console
from max_whisper.errors import OptionError
from max_whisper.options.parser import CommandParser, path_of
from max_whisper.progress import Step
from max_whisper.runtime.devices import DEVICES

BACKENDS = ("max", "hybrid")


def run(arguments: Sequence[str], program: str = "max-whisper parity-options") -> int:
    """Compare all cases; returns 0 where all are equal, otherwise 1."""
    parser = CommandParser(prog=program, description=__doc__)
    add = parser.add_argument
    add("--model", action="append", choices=MODELS, help="only the cases of this model (default: of all)")
    add("--cases", metavar="N,N", help="only the cases of these numbers, as on the page, and nothing that is drawn")
    add("--backend", default="max", choices=BACKENDS, help="what is compared (default: %(default)s)")
    add("--device", default="cpu", choices=DEVICES, help="MAX's; PyTorch stays on the CPU (default: %(default)s)")
    add("--page", type=lambda text: Path(path_of(text)), metavar="FILE", help="write all of it as a page in Markdown")
    options = parser.parse_args(arguments)
    models = options.model or MODELS
    numbers = _numbers(options.cases)

    console = output_console()
    ran_with = versions()  # of the sources as they are read now, not as they are at the end
    report = Report(options.backend, options.device)
    chosen = [case for number, case in enumerate(CASES, start=1) if not numbers or number in numbers]
    fallback, first_tokens = ((), ()) if numbers else (FALLBACK_CASES, FIRST_TOKENS)
    with Bar(console=console, transient=True) as bar:
        for model in dict.fromkeys(models):
            cases = [case for case in (*chosen, *fallback) if case.model == model]
            drawn = [first for first in first_tokens if first[0] == model]
            if not cases:
                continue
            task = bar.add_task(model, total=len(cases) + len(drawn))
            pair = Pair.load(model, options.backend, options.device, _report)
            for case in cases:
                (report.fallback if case.is_drawn else report.cases).append(compare(pair, case))
                bar.advance(task)
            for _, recording, temperature, others in drawn:
                report.first_tokens.append(compare_first_token(pair, recording, temperature, others))
                bar.advance(task)
            del pair
            gc.collect()

    console.print(summary(report))
    for line in differing(report):
        console.print(line, style="red", markup=False)
    if options.page is not None:
        command = " ".join([program, *arguments])
        options.page.write_text(page(report, command, machine(), ran_with), encoding="utf-8")
        console.print(f"written: {options.page}")
    return 0 if report.is_equal else 1


def _numbers(text: str | None) -> set[int]:
    """Raises OptionError for what is not numbers of cases with commas between them."""
    try:
        numbers = {int(number) for number in text.split(",")} if text else set()
    except ValueError:
        numbers = {0}
    if not numbers <= set(range(1, len(CASES) + 1)):
        raise OptionError(f"cases: numbers from 1 to {len(CASES)} with commas, got {text!r}")
    return numbers


def _report(step: Step, /) -> None:
    print(step.message, file=sys.stderr, flush=True)
