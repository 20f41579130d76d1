"""Worker processes of a run."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.cloud.processes import CHECKOUT


class Workers:
    """Worker processes, of which one is killed again and again."""

    def __init__(self, program: str, url: str, directory: Path, chance: random.Random) -> None:
        self.program, self.url, self.directory, self.chance = program, url, directory, chance
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: dict[str, float] = {}
        self.stopping = threading.Event()

    def start(self) -> None:
        name = f"worker-{len(self.processes) + len(self.killed)}"
        program = [sys.executable, "-m", self.program, self.url, str(self.directory), name]
        with (self.directory / name).open("wb") as log:
            self.processes[name] = subprocess.Popen(program, cwd=CHECKOUT, stdout=log, stderr=log)

    def kill(self, seconds: float) -> None:
        while not self.stopping.wait(seconds):
            begun = self.directory / "begun"
            working = {line.split()[2] for line in begun.read_text().splitlines()} if begun.exists() else set[str]()
            if not (candidates := sorted(self.processes.keys() & working)):
                continue  # on a busy machine they have not started yet
            self.kill_one(candidates)
            self.start()

    def kill_one(self, candidates: Sequence[str]) -> None:
        name = self.chance.choice(candidates)
        self.killed[name] = time.monotonic()
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def ended(self) -> list[str]:
        """Name those that run no more, and were not killed."""
        ended = [name for name, process in dict(self.processes).items() if process.poll() is not None]
        return [name for name in ended if name not in self.killed]

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
