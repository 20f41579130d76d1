"""The `byte-ways` directive: which thread does what with the bytes, recorded while the library moves some."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from imagevol_adapters.testing import memory
from imagevol_adapters.transfers import open_image_volume, store_image

CALLER = "the caller's thread"
PHASES = ("before", "while the bytes move", "after")
DATA = (b"data" * 2**18, bytes(3 * 2**20), b"data")  # more than one part, and zeros
SIZE_BYTES = sum(map(len, DATA))

# What is told of each call of a port; a call of another method of the same ports is not told.
CALLS = {
    "MemoryVolumes.create": "Cinder creates the volume",
    "MemoryVolumes.get": "Cinder is asked for the volume",
    "MemoryVolumes.attach": "Cinder notes the attachment",
    "MemoryAttacher.open": "os-brick connects the volume",
    "MemoryDevice.readinto": "read the device",
    "MemoryDevice.write": "write to the device",
    "MemoryDevice.clear": "clear ranges of the device, and read back",
    "MemoryDevice.flush": "flush the device",
    "MemoryVolumes.detach": "os-brick disconnects the volume, Cinder deletes the attachment",
    "MemoryVolumes.set_readonly": "the volume becomes read-only",
    "MemoryVolumes.set_metadata": "write what the volume holds into its metadata",
}
SOURCE = "read the source"
RECEIVE = "give a part to the caller"
BYTES = (SOURCE, RECEIVE, "digest", CALLS["MemoryDevice.readinto"], CALLS["MemoryDevice.write"])


@dataclass
class Recording:
    """What happened, in order: the thread and the step."""

    events: list[tuple[int, str]] = field(default_factory=list)

    def note(self, step: str) -> None:
        """Add a step of this thread."""
        self.events.append((threading.get_ident(), step))

    def source(self) -> Iterator[bytes]:
        """Give the data of a source."""
        for piece in DATA:
            self.note(SOURCE)
            yield piece

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a call of a port or of a digest; Python calls this for each function."""
        if event == "call" and frame.f_globals.get("__name__", "").startswith(memory.__name__):
            if step := CALLS.get(frame.f_code.co_qualname):
                self.note(step)
        elif event == "c_call" and argument.__name__ == "update" and type(argument.__self__).__name__ == "HASH":
            self.note(f"digest: {argument.__self__.name}")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Record in this thread and in those that it starts."""
        before = sys.getprofile()
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(None)

    def lanes(self) -> dict[str, tuple[list[str], ...]]:
        """Give the steps of each thread in the three phases; a thread is named after what it does."""
        caller = threading.get_ident()
        moving = [number for number, (thread, step) in enumerate(self.events) if thread != caller or step in BYTES[:2]]
        found: dict[int, tuple[list[str], ...]] = {}
        for number, (thread, step) in enumerate(self.events):
            phase = 0 if number < moving[0] else 2 if number > moving[-1] else 1
            steps = found.setdefault(thread, ([], [], []))[phase]
            if step not in steps:
                steps.append(step)
        named = {CALLER if thread == caller else _lane(phases): phases for thread, phases in found.items()}
        return dict(sorted(named.items(), key=lambda lane: (lane[0] != CALLER, lane[0])))


def _lane(phases: tuple[list[str], ...]) -> str:
    """Name a thread after the first of its steps."""
    (first, *_) = phases[1]
    return f"a thread for {first.partition(': ')[2]}" if ": " in first else "a thread for the device"


def stored(recording: Recording, volumes: memory.MemoryVolumes, attacher: memory.MemoryAttacher) -> str:
    """Store an image, and give the id of its volume."""
    with recording.running():
        done = store_image(
            recording.source(),
            size_bytes=SIZE_BYTES,
            image_id="e38f5596-4bd3-4b63-b4ef-88bcc814ed8e",
            image_owner="demo",
            volumes=volumes,
            attacher=attacher,
        )
    return str(done.volume.id)


def ways() -> dict[str, Recording]:
    """Move some bytes in each way."""
    volumes = memory.MemoryVolumes()
    attacher = memory.MemoryAttacher(volumes=volumes)
    into, back = Recording(), Recording()
    volume_id = stored(into, volumes, attacher)
    with back.running(), open_image_volume(volume_id, volumes=volumes, attacher=attacher) as content:
        for _ in content.parts:
            back.note(RECEIVE)
    return {"An image into a volume": into, "A volume as an image": back}


class ByteWays(SphinxDirective):
    """A table for each way: a row for each thread, a column for each phase."""

    def run(self) -> list[nodes.Node]:
        """Make the tables."""
        made: list[nodes.Node] = []
        for title, recording in ways().items():
            made += [nodes.rubric(text=title), table(recording)]
        return made


def table(recording: Recording) -> nodes.table:
    """Make the table of one way."""
    body = nodes.tbody()
    for lane, phases in recording.lanes().items():
        body += _row([nodes.paragraph(text=lane)], *(_steps(steps) for steps in phases))
    specs = [nodes.colspec(colwidth=width) for width in (16, 28, 28, 28)]
    head = nodes.thead("", _row(*([nodes.paragraph(text=each)] for each in ("thread", *PHASES))))
    return nodes.table("", nodes.tgroup("", *specs, head, body, cols=4), classes=["lanes"])


def _steps(steps: list[str]) -> list[nodes.Node]:
    items = [nodes.list_item("", nodes.paragraph(text=step)) for step in steps]
    return [nodes.bullet_list("", *items)] if items else [nodes.paragraph()]


def _row(*cells: Sequence[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", *cell) for cell in cells))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tell Sphinx of the directive."""
    app.add_directive("byte-ways", ByteWays)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
