"""What an image is, told from its bytes while they pass or from a file, before anything else reads it.

oslo.utils' inspectors are asked, one for each format, and their answers become the facts of `imagevol_core`, which
decides.  They see what a later reader of the volume would see, and in parts of one size: asked in the parts in which
the bytes happen to come, some of them give other answers.  Of a file, what Cinder's own inspector makes of it is a fact
too (`cinder_inspector`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from oslo_utils.imageutils.format_inspector import ALL_FORMATS, SafetyCheckFailed

from imagevol_adapters.blockmaps import needed_bytes
from imagevol_adapters.blockmaps.vhd import FOOTER_BYTES, fixed_disk_bytes
from imagevol_adapters.inspection.cinder_inspector import inspect_as_cinder
from imagevol_adapters.inspection.headers import packed_as, partitions, probed_as, qcow_features, qcow_version
from imagevol_adapters.opening import open_file
from imagevol_core import Inspection, SafetySettings, UnsafeImage, check_image_safety, failed

__all__ = ["ImageInspector", "check", "inspect_file"]

# A VMDK's text is read up to this length, and must come in one part; nothing that a VHDX points to begins before it,
# and must not come in the part that points.
PART_BYTES = 1 << 20
_ZEROS = bytes(64 << 10)  # more than the longest header that has to be whole, an ISO's, needs
_READ_AS_RAW = ("raw", "gpt", "iso")
_DIFFERENCING = (4).to_bytes(4, "big")  # of a VHD's footer, which stands first too: it has a parent
_WITHIN_A_DISK = {"gpt"}  # what is found at the beginning of any disk
_LINKED = ("backing_file", "data_file")  # checks that have a fact of their own


class ImageInspector:
    r"""Finds out what an image is while its bytes pass, as a digest does.

    It never raises, whatever the bytes; keeps two or three MiB of them at most; and once every inspector has decided,
    for a raw disk after the first MiB, only counts.

    >>> inspector = ImageInspector()
    >>> inspector.update(b"QFI\xfb" + bytes(2 << 20))
    >>> inspector.decided, inspector.inspection().formats
    (True, ('qcow2',))
    """

    def __init__(self) -> None:
        """Begin before the first byte."""
        self._inspectors = {name: kind() for name, kind in ALL_FORMATS.items() if name != "raw"}
        self._undecided = dict(self._inspectors)
        self._raised: set[str] = set()
        self._held = bytearray()
        self._head = self._tail = b""
        self._length = 0
        self._cut_short: set[str] = set()

    @property
    def decided(self) -> bool:
        """Whether no byte that is yet to come changes anything but the length.

        From then on `inspection` may be asked before the end, so that a stream need not be written to be refused.
        """
        return not self._undecided

    def update(self, data: bytes | memoryview) -> None:
        """Take the next part of the image."""
        view = memoryview(data).cast("B")
        self._length += len(view)
        end = bytes(view[-FOOTER_BYTES:])
        self._tail = (self._tail + end)[-FOOTER_BYTES:]
        while view and self._undecided:
            room = PART_BYTES - len(self._held)
            self._held += view[:room]
            view = view[room:]
            if len(self._held) == PART_BYTES:
                self._show()

    def inspection(self, *, ended: bool = True) -> Inspection:
        """Give the facts; no more bytes may come after it, unless all was `decided`.

        Args:
            ended: whether the image ends here.  Before its end nothing says that it is a fixed VHD, or too short.
        """
        if self._undecided:
            self._end()
        matched = [name for name in self._inspectors if name not in self._cut_short and self._matches(name)]
        fixed_bytes = fixed_disk_bytes(self._tail) if ended and set(matched) <= _WITHIN_A_DISK else None
        if fixed_bytes is not None:  # what else was found is on the disk
            return self._fixed(fixed_bytes)
        parses, checks = not self._cut_short, set[str]()
        for name in matched:
            parses &= name not in self._raised
            try:
                self._inspectors[name].safety_check()
            except SafetyCheckFailed as error:
                checks |= set(error.failures)
            except Exception:  # noqa: BLE001 - whatever fails there, it is the image that does not parse
                parses = False
        vmdk = self._inspectors["vmdk"] if "vmdk" in matched else None
        return Inspection(
            formats=tuple(matched) or ("raw",),
            header_parses=parses,
            virtual_size_bytes=self._virtual_size(matched),
            has_backing_file=self._has_backing_file(matched, checks),
            has_data_file="data_file" in checks if "qcow2" in matched else None,
            subformat=getattr(vmdk, "vmdktype", None),
            text_only=None if vmdk is None else not vmdk.has_region("header"),
            failed_checks=frozenset(checks.difference(_LINKED)),
            missing_bytes=self._missing_from_iso(ended=ended) if "iso" in matched else None,
            partitions=partitions(self._head) if "gpt" in matched else None,
            version=qcow_version(self._head) if "qcow2" in matched else None,
            features=qcow_features(self._head) if "qcow2" in matched else None,
            packed_as=None if matched else packed_as(self._head),
            probed_as=probed_as(self._head, self._tail if ended else b""),
        )

    def _fixed(self, disk_bytes: int) -> Inspection:
        """The facts of a VHD that is a disk with a footer after it."""
        return Inspection(
            formats=("vhd",),
            header_parses=not self._cut_short,
            virtual_size_bytes=disk_bytes,
            has_backing_file=False,
            subformat="fixed",
            failed_checks=frozenset(),
            probed_as=probed_as(self._head),
        )

    @property
    def _needs_only_its_end(self) -> bool:
        """Whether nothing is missing but the footer that a VMDK of this kind ends with."""
        return set(self._undecided) == {"vmdk"} and self._undecided["vmdk"].region("descriptor").complete

    def _show(self) -> None:
        """Let those who are undecided see what is held."""
        part = bytes(self._held)
        self._held.clear()
        self._head = self._head or part
        for name, inspector in list(self._undecided.items()):
            self._feed(name, part)
            if name in self._raised or inspector.complete:
                del self._undecided[name]

    def _feed(self, name: str, part: bytes) -> None:
        try:
            self._inspectors[name].eat_chunk(part)
        except Exception:  # noqa: BLE001 - so it says that this is none of its own, or that it cannot read it
            self._raised.add(name)

    def _end(self) -> None:
        """Nothing more comes.

        On a volume, zeros follow the last byte, and a header that was cut short may be whole with them: a short file
        that the inspectors take for raw would be a qcow2 to who reads the volume.
        """
        if self._held:
            self._show()
        for name, inspector in self._undecided.items():
            if not self._matches(name):
                self._feed(name, _ZEROS)
                if self._matches(name):
                    self._cut_short.add(name)
            inspector.finish()
        self._undecided.clear()

    def _matches(self, name: str) -> bool:
        try:
            return bool(self._inspectors[name].format_match)
        except Exception:  # noqa: BLE001 - it cannot tell, which is not a no
            self._raised.add(name)
            return True

    def _virtual_size(self, formats: list[str]) -> int | None:
        """The largest that anything says; None where something that should say does not."""
        sizes = [self._length if name in _READ_AS_RAW else self._told_size(name) for name in formats or ["raw"]]
        return None if None in sizes else max(size for size in sizes if size is not None)

    def _told_size(self, name: str) -> int | None:
        inspector = self._inspectors[name]
        try:
            if name == "luks":  # all that follows its header, and it has not seen all
                return max(0, inspector.virtual_size + self._length - inspector.actual_size)
            return inspector.virtual_size or None  # they say zero where they do not know
        except Exception:  # noqa: BLE001 - the header is not what it must be
            return None

    def _missing_from_iso(self, *, ended: bool) -> int:
        """How much of an ISO lies after the end, by its first descriptor; one of another kind does not say."""
        return max(0, self._inspectors["iso"].virtual_size - self._length) if ended else 0

    def _has_backing_file(self, formats: list[str], checks: set[str]) -> bool | None:
        """Whether the format that can have one says so; None where no format can, or which of them is not known."""
        told = {"qcow2": lambda: "backing_file" in checks, "vmdk": self._names_a_parent, "vhd": self._is_differencing}
        answers = [told[name]() for name in formats if name in told]
        return any(answers) if answers else None

    def _names_a_parent(self) -> bool:
        """As qemu-img looks for it: also after the length that the header gives for the descriptor."""
        start = 512 if self._head.startswith(b"KDMV") else 0
        return b"parentfilenamehint" in self._head[start:].partition(b"\0")[0].lower()

    def _is_differencing(self) -> bool:
        return self._head[60:64] == _DIFFERENCING  # which qemu-img reads as a disk of zeros


def inspect_file(file: str | Path | BinaryIO) -> Inspection:
    """Find out what a file or a block device is, whether it was cut short, and what Cinder would take it for.

    No more of it is read than that takes: its beginning, and the tables that it has.

    Args:
        file: its path, or itself, opened to be read.

    Raises:
        OSError: it cannot be read.

    >>> import io
    >>> inspect_file(io.BytesIO(bytes(1 << 20))).formats
    ('raw',)
    """
    with ExitStack() as stack:
        opened = _opened(Path(file), stack) if isinstance(file, (str, Path)) else file
        size = opened.seek(0, os.SEEK_END)
        place = opened.seek(0)
        inspector = ImageInspector()
        while not inspector.decided and (part := opened.read(PART_BYTES)):
            inspector.update(part)
            place += len(part)
            if inspector._needs_only_its_end and place < size - PART_BYTES:
                place = opened.seek(size - PART_BYTES)
        inspector._length = length = max(size, place)  # also what was not looked at
        opened.seek(max(0, length - FOOTER_BYTES))
        inspector._tail = opened.read(FOOTER_BYTES)
        found = inspector.inspection()
        cinder = inspect_as_cinder(inspector._head, opened, size_bytes=length)
        if cinder.format == "raw" and "luks" not in found.formats:
            cinder = replace(cinder, virtual_size_bytes=length)
        found = replace(found, cinder=cinder)
        if len(found.formats) == 1 and found.header_parses:
            needed = needed_bytes(opened, name=found.formats[0], size_bytes=length)
            if needed is not None:
                found = replace(found, missing_bytes=max(0, needed - length))
        return found


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    return stack.enter_context(os.fdopen(open_file(path, block_devices=True), "rb"))


def check(
    inspection: Inspection,
    *,
    declared_format: str | None,
    size_gib: int | None,
    what: str,
    settings: SafetySettings | None = None,
) -> None:
    r"""Refuse an image that `check_image_safety` finds unsafe.

    Args:
        inspection: what was found in it.
        declared_format: its `disk_format`.
        size_gib: the size of the volume that it is for; None when it is for none in particular.
        what: names it in the error.
        settings: what the operator allows, and what this host can read; nothing beyond the usual when None.

    Raises:
        UnsafeImage: with the sentence of every rule that refuses it.

    >>> inspector = ImageInspector()
    >>> inspector.update(b"\x1f\x8b\x08\0")
    >>> check(inspector.inspection(), declared_format="raw", size_gib=1, what="image 7")
    Traceback (most recent call last):
    imagevol_core.errors.UnsafeImage: image 7 is refused: not-packed: it is not a disk but gzip data: ...
    """
    decision = check_image_safety(
        inspection, declared_format=declared_format, size_gib=size_gib, settings=settings or SafetySettings()
    )
    if not decision.safe:
        reasons = {verdict.rule: verdict.text for verdict in failed(decision.verdicts)}
        raise UnsafeImage(what, reasons=reasons, declare_as=decision.declare_as)
