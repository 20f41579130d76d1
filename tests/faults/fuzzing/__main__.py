"""Fuzzes each parser, or those that are named: under atheris where it is installed, or by blind changes of the corpus.

`python -m tests.faults.fuzzing [TARGET...] [--minutes N] [--seed N] [--keep] [--no-record]`; the minutes are those of
each target, ten by default.  A crash is an input in the directory that is printed: make a test of it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from random import Random

from tests.faults.fuzzing.corpus import CORPUS, inputs, keep
from tests.faults.fuzzing.mutating import mutated
from tests.faults.fuzzing.targets import TARGETS
from tests.faults.recorded import Row, options, record

_MINUTES = 10.0
_LIMITS = ("-rss_limit_mb=2048", "-timeout=20", "-max_len=65536", "-print_final_stats=1", "-verbosity=1")
_UNITS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_WITHOUT = "atheris is not installed: inputs are changed blindly (pip install atheris)"


def guided(target: str, *, seconds: float, seed: int, scratch: Path) -> tuple[int, list[Path]]:
    """Let atheris look for inputs; give how many it tried, and those that failed."""
    found, crashes = scratch / "found", scratch / "crashes"
    for directory in (found, crashes):
        directory.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.faults.fuzzing.guided", target, *_LIMITS, f"-seed={seed}"]
    command += [f"-max_total_time={seconds:.0f}", f"-artifact_prefix={crashes}/", str(found), str(CORPUS / target)]
    with (scratch / "log").open("w+") as log:
        subprocess.run(command, stdout=log, stderr=log, check=False, env=_kept_in(scratch))
        log.seek(0)
        said = log.read()
    units = _UNITS.search(said)
    if units is None and not any(crashes.iterdir()):
        print(said[-4000:], flush=True)
        raise RuntimeError(f"atheris did not run {target}")
    return int(units[1]) if units else 1, sorted(crashes.iterdir())


def _kept_in(scratch: Path) -> dict[str, str]:
    """Let temporary files lie in a directory that is removed: libFuzzer ends without what Python does at its end."""
    return {**os.environ, "TMPDIR": str(scratch)}


def minimised(target: str, scratch: Path) -> list[bytes]:
    """Give the inputs that were found, of those that reach the same only one."""
    merged = scratch / "merged"
    merged.mkdir()
    command = [sys.executable, "-m", "tests.faults.fuzzing.guided", target, "-merge=1", *_LIMITS]
    with (scratch / "merge.log").open("w") as log:
        subprocess.run(
            [*command, str(merged), str(CORPUS / target), str(scratch / "found")],
            stdout=log,
            stderr=log,
            check=False,
            env=_kept_in(scratch),
        )
    return [path.read_bytes() for path in merged.iterdir()]


def blind(target: str, *, seconds: float, seed: int, scratch: Path) -> tuple[int, list[Path]]:
    """Change the inputs of the corpus; give how many were tried, and those that failed."""
    random, kept, run = Random(f"{target} {seed}"), list(inputs(target).values()), TARGETS[target]
    end, tried, crashes = time.monotonic() + seconds, 0, list[Path]()
    while time.monotonic() < end and len(crashes) < 5:
        data = mutated(random.choice(kept), kept, random)
        tried += 1
        try:
            run(data)
        except Exception as error:  # noqa: BLE001 - it is what is looked for
            scratch.mkdir(exist_ok=True)
            crashes.append(scratch / f"crash-{len(crashes)}")
            crashes[-1].write_bytes(data)
            print(f"{type(error).__name__}: {error}"[:300], flush=True)
    return tried, crashes


def main() -> int:
    """Fuzz, and give 1 if an input failed."""
    parser = options(__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--keep", action="store_true", help="add short inputs that reach more to the corpus")
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - TARGETS.keys():
        parser.error(f"unknown targets: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    seconds = 60 * (_MINUTES if arguments.minutes is None else arguments.minutes)
    has_atheris = find_spec("atheris") is not None
    print(f"seed {arguments.seed}" if has_atheris else f"seed {arguments.seed}; {_WITHOUT}", flush=True)
    logging.disable(logging.CRITICAL)
    scratch = Path(tempfile.mkdtemp(prefix="imagevol-fuzz-"))
    rows, failed = list[Row](), 0
    for target in arguments.targets or TARGETS:
        tried, crashes = (guided if has_atheris else blind)(
            target, seconds=seconds, seed=arguments.seed, scratch=scratch / target
        )
        if has_atheris and arguments.keep:
            print(f"{target}: {keep(target, minimised(target, scratch / target))} inputs added", flush=True)
        failed += len(crashes)
        outcomes = {"answer or error of ours": tried - len(crashes), "crash": len(crashes)}
        rows.append(
            Row(
                fault="fuzzed" if has_atheris else "fuzzed blindly",
                what=target,
                tried=tried,
                outcomes={name: count for name, count in outcomes.items() if count},
                seed=arguments.seed,
            )
        )
        print(json.dumps({"target": target, "tried": tried, "crashes": list(map(str, crashes))}), flush=True)
    record("fuzzing", rows, directory=arguments.directory)
    if not failed:
        shutil.rmtree(scratch)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
