"""Fuzzing: damaged recordings and odd options, drawn at random, through the library and the command line.

    python -m tests.fuzzing --minutes 60 --seed 7      all cases from number 0 on
    python -m tests.fuzzing --seed 7 --case 1234       one of them again, with its files in build/fuzzing

Containers are cut, flipped and put together wrongly; file objects fail; arrays hold odd values; options are drawn from
their definitions. A case holds where it ends in a transcription, or in one error of the package, with no foreign
warning, in time, and with text where PyAV alone decodes speech. The status is 0 where all cases hold.

The cases run in a process of their own, which is replaced when it crashes or hangs. What is too slow is ended by a
watchdog, which prints where it was.
"""

import argparse
import faulthandler
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

SEED_HELP = "decides everything that is drawn"
KEPT = Path("build/fuzzing")  # the files of a case that is run again
PATIENCE = 10  # times the usual time
LEAST_LIMIT = 60.0  # seconds, so that a busy machine is not taken for a hang


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help=f"{SEED_HELP} (default: 0)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case (default: 0)")
    parser.add_argument("--case", type=int, help="run this case alone, and keep its files")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    if options.case is not None:
        return _again(options.seed, options.case)
    if options.in_this_process:
        _work(options.seed, options.first, until)
        return 0
    return _watch(options.seed, options.first, until)


def _work(seed: int, first: int, until: float) -> None:
    """Run cases; prints a line in JSON before and after each."""
    from tests.fuzzing.cases import load_fuzzed_model, run_case, usual_seconds

    faulthandler.enable()  # of a crash
    model = load_fuzzed_model()
    limit = max(LEAST_LIMIT, PATIENCE * usual_seconds(model))
    with tempfile.TemporaryDirectory() as folder:
        for number in count(first):
            if time.monotonic() > until:
                break
            print(json.dumps({"begun": number}), flush=True)
            faulthandler.dump_traceback_later(limit, exit=True)
            case = run_case(model, seed, number, Path(folder))
            faulthandler.cancel_dump_traceback_later()
            told = {"ended": number, "outcome": case.outcome, "faults": case.faults, "described": case.described}
            print(json.dumps(told), flush=True)


def _watch(seed: int, first: int, until: float) -> int:
    """Let processes run cases until it is time; prints each fault, and at the end how the cases ended."""
    outcomes: Counter[str] = Counter()
    n_faulty = 0
    begin = time.monotonic()
    while time.monotonic() < until:
        minutes = (until - time.monotonic()) / 60
        command = [sys.executable, "-m", "tests.fuzzing", "--in-this-process", "--seed", str(seed)]
        command += ["--first", str(first), "--minutes", str(minutes)]
        with (
            tempfile.TemporaryFile("w+") as complaints,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as process,
        ):
            assert process.stdout is not None
            running = None
            for line in process.stdout:
                told = json.loads(line)
                if "begun" in told:
                    running = told["begun"]
                    continue
                first, running = told["ended"] + 1, None
                outcomes[told["outcome"] or "fault"] += 1
                if told["faults"]:
                    n_faulty += 1
                    _print_fault(seed, told["ended"], told["described"], told["faults"])
            process.wait()
            if process.returncode:
                complaints.seek(0)
                if running is None:  # it never began
                    sys.exit(f"fuzzing ended with status {process.returncode}\n{complaints.read()}")
                n_faulty += 1
                ended = f"the process ended with status {process.returncode}: a crash, or a hang that was ended"
                _print_fault(seed, running, "", [ended, complaints.read()[-5000:]])
                first = running + 1
    n_cases = sum(outcomes.values())
    ends = ", ".join(f"{number} {outcome}" for outcome, number in outcomes.most_common())
    print(f"seed {seed}: {n_cases} cases in {(time.monotonic() - begin) / 60:.1f} min, {n_faulty} with faults; {ends}")
    return 1 if n_faulty else 0


def _again(seed: int, number: int) -> int:
    """Run one case, keep its files, and print all about it."""
    from tests.fuzzing.cases import load_fuzzed_model, run_case

    model = load_fuzzed_model()
    KEPT.mkdir(parents=True, exist_ok=True)
    case = run_case(model, seed, number, KEPT)
    for index, content in enumerate(case.contents):
        path = KEPT / f"seed-{seed}-case-{number}-{index}"
        path.write_bytes(content)
        print(f"kept {path}")
    print(f"{case.described}\n{case.outcome or 'no outcome'}")
    for fault in case.faults:
        print(fault)
    return 1 if case.faults else 0


def _print_fault(seed: int, number: int, described: str, faults: list[str]) -> None:
    print(f"case {number}: {described}", *faults, sep="\n  ")
    print(f"  again: python -m tests.fuzzing --seed {seed} --case {number}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
