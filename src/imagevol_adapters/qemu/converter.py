"""Other formats than raw, through qemu-img.

An image that a stranger wrote is inspected first; what the rules refuse, qemu-img never sees.  What it does see, it
reads as the one format that was found, with limits on its memory and its time, and confined to the files that it is
for.  The commands are the core's; here they are run.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import attrs
from oslo_concurrency.processutils import ProcessLimits

from imagevol_adapters.cleanup import undone_on_failure
from imagevol_adapters.disk_files import Disk, disk_of
from imagevol_adapters.inspection.in_time import closed_in_time, inspect_in_time, opened_in_time
from imagevol_adapters.inspection.inspector import check
from imagevol_adapters.opening import open_file
from imagevol_adapters.ports import Device
from imagevol_adapters.qemu.confinement import confined
from imagevol_adapters.qemu.network_disk import DeviceDisk, disk_argument, served
from imagevol_adapters.qemu.running import LONGEST_COMPLAINT, SOURCE, TARGET, ended
from imagevol_adapters.translation import Table, translated
from imagevol_core import (
    GIB,
    STALL_SECONDS,
    ConversionFailed,
    CopyPlan,
    Inspection,
    InvalidFact,
    MissingProgram,
    Policy,
    SafetySettings,
)
from imagevol_core.sentences import duration

__all__ = ["QemuConverter", "qemu_img_features", "qemu_img_version"]

_QEMU_IMG = "qemu-img"
_PROTOCOLS = {"vhd": "vpc"}  # what qemu-img calls otherwise
# Of these qemu-img may see another disk than the header says that the inspectors read: a VMDK's footer comes after it,
# a VHD's size may be that of a geometry, and a VHDX may say its size twice.
_ASKED = frozenset({"vmdk", "vhd", "vhdx"})
_NEWER = frozenset({"extended_l2"})  # features of qcow2 that qemu-img has since 5.2
_CHECKED = (0, 2, 3)  # what `qemu-img check` ends with: all is well, there are errors, clusters are leaked
_STACK_BYTES = 1 << 20  # of each of its up to 64 threads: with the usual 8 MiB these take half of a GiB
_LONGEST_LINE = 300
_NAMED_FILE = re.compile(r"\bfile(?:\.filename)?=((?:[^,]|,,)+)")
_WITH_LOG = "a log that needs to be replayed"  # of a VHDX, as qemu-img says it
_REPLAY = (
    "{} was not closed properly: a log in it has changes that are not on its disk yet. Write them into a copy of the "
    "file with `qemu-img check -r all COPY`, and use the copy"
)
_STARTING: Table = ((Exception, ConversionFailed, ""),)
_PATH = re.compile(r"(?<![\w/])/[^\s':,\"]+")
_UNREADABLE = (ValueError, KeyError, AttributeError, TypeError, OverflowError, RecursionError)  # of an answer


def _never() -> bool:
    return False


@attrs.frozen(kw_only=True)
class QemuConverter:
    """Looks at images and converts them with qemu-img: a `Converter`.

    As any user, qemu-img may open only the files that its command names; as root it is not root (`confinement`).

    Args:
        address_space_bytes: how much memory it may map.
        cpu_seconds: how long it may compute at most, in any case.
        cpu_seconds_per_gib: and how much longer for each GiB of the disk; compressing takes a minute for one.
        stall_seconds: how long it may neither read, write nor compute.
    """

    address_space_bytes: int = GIB
    cpu_seconds: int = 60
    cpu_seconds_per_gib: int = 300
    stall_seconds: float = STALL_SECONDS

    def examine(
        self,
        path: str,
        *,
        declared_format: str | None,
        size_gib: int | None,
        what: str,
        safety: SafetySettings | None = None,
        file: BinaryIO | None = None,
    ) -> Inspection:
        """Give the facts of an image in a file, if it is safe.

        qemu-img is asked only of a few formats what it makes of their size, and only after the inspectors found the
        image safe.
        """
        path = str(Path(path).absolute())  # or qemu-img could take it for a protocol
        inspection = inspect_in_time(file or path, what=what, stall_seconds=self.stall_seconds)
        newer = _NEWER.intersection(inspection.features or ())
        settings = replace(safety or SafetySettings(), qemu_features=qemu_img_features() if newer else frozenset())
        judged = functools.partial(
            check, declared_format=declared_format, size_gib=size_gib, what=what, settings=settings
        )
        judged(inspection)
        for name in _ASKED.intersection(inspection.formats):
            inspection = self._asked(path, name, inspection, file)
            judged(inspection)
        if "qcow2" in inspection.formats:
            inspection = self._checked(path, inspection, file)
            judged(inspection)
        return inspection

    def examine_as_cinder(self, path: str, *, what: str) -> Inspection:
        """Give the facts by which `check_image_safety` says, under `UPSTREAM`, what Cinder does with a file.

        Unlike `examine`, it refuses no image.  As Cinder does, it asks qemu-img only about an image that Cinder's own
        inspector finds safe.  That qemu-img can open no file but this one: Cinder's can also open a file beside the
        image, if the descriptor of a VMDK names one.

        Args:
            path: of the file.
            what: names it in an error.

        Raises:
            SourceFailed: the file cannot be read.
            ConversionFailed: qemu-img cannot be run, or opens no file at all.
            MissingProgram: it is not installed.
        """
        with ExitStack() as stack:
            in_time: dict[str, Any] = {"what": what, "stall_seconds": self.stall_seconds}
            descriptor = opened_in_time(functools.partial(open_file, Path(path), block_devices=True), **in_time)
            file = stack.enter_context(closed_in_time(os.fdopen(descriptor, "rb")))
            inspection = inspect_in_time(file, **in_time)
            found = inspection.cinder
            if found is None or not found.safe or found.format == "vhd":  # a name that qemu-img does not know
                return inspection
            path = str(Path(path).absolute())
            said = self._asked(path, "raw", inspection, file)  # any file is, so that a later failure says something
            raw, opens = found.format == "raw", True
            if not raw or "luks" in inspection.formats:
                try:
                    said = self._asked(path, "luks" if raw else found.format, inspection, file)
                except ConversionFailed:
                    opens = raw
            found = replace(found, opens=opens, virtual_size_bytes=said.virtual_size_bytes)
            return replace(inspection if raw or not opens else said, cinder=found)

    def convert(
        self,
        plan: CopyPlan,
        *,
        size_bytes: int,
        cancelled: Callable[[], bool] = _never,
        file: BinaryIO | None = None,
        device: Device | None = None,
    ) -> None:
        """Run the command of a plan of `plan_copy`, as it is; qemu-img writes to a `device` by NBD, if one is given."""
        program = _program_of(plan)
        *_, source, target = plan.argv
        disks = {target: DeviceDisk.watched(device, self.stall_seconds)} if device else dict[str, DeviceDisk]()
        with nullcontext() if device else _made(Path(target)):
            names = {source: SOURCE, target: TARGET}
            self._run(
                plan.argv[:program],
                plan.argv[program:],
                names,
                size_bytes=size_bytes,
                cancelled=cancelled,
                opened=_opened(source, file),
                disks=disks,
            )

    def _asked(self, path: str, name: str, inspection: Inspection, file: BinaryIO | None) -> Inspection:
        """What qemu-img makes of an image that the inspectors found safe, by the name of the one that it is."""
        argv = (_QEMU_IMG, "info", "-f", _PROTOCOLS.get(name, name), "--output=json", path)
        said = self._run((), argv, {path: "the image"}, opened=_opened(path, file))
        try:
            info = json.loads(said)
            subformat = info.get("format-specific", {}).get("data", {}).get("create-type", inspection.subformat)
            return replace(
                inspection,
                virtual_size_bytes=int(info["virtual-size"]),
                has_backing_file=inspection.has_backing_file is True or "backing-filename" in info,
                subformat=subformat,
            )
        except _UNREADABLE as error:
            raise ConversionFailed(f"qemu-img says what cannot be read: {error!r}") from error

    def _checked(self, path: str, inspection: Inspection, file: BinaryIO | None) -> Inspection:
        """What `qemu-img check` finds in a qcow2; it writes nothing, and clusters that are leaked hurt no reader."""
        argv = (_QEMU_IMG, "check", "-f", "qcow2", "--output=json", path)
        size_bytes = file.seek(0, os.SEEK_END) if file else Path(path).stat().st_size
        said = self._run(
            (),
            argv,
            {path: "the image"},
            size_bytes=size_bytes,
            answers=_CHECKED,
            writes=False,
            opened=_opened(path, file),
        )
        try:
            report = json.loads(said)
            return replace(inspection, corruptions=report.get("corruptions", 0) + report["check-errors"])
        except _UNREADABLE as error:
            raise ConversionFailed(f"qemu-img says what cannot be read: {error!r}") from error

    def _run(
        self,
        prefix: Sequence[str],
        argv: Sequence[str],
        names: Mapping[str, str],
        *,
        size_bytes: int = 0,
        cancelled: Callable[[], bool] = _never,
        answers: Sequence[int] = (0,),
        writes: bool = True,
        opened: Mapping[str, BinaryIO] | None = None,
        disks: Mapping[str, DeviceDisk] | None = None,
    ) -> str:
        """Run qemu-img after the operator's prefix, and give what it says, with files called by these names.

        It has failed if it ends with none of `answers`.  If it `writes` nothing, also its complaints are limited: there
        may be one for each cluster.  Of the files that are `opened`, it reads these; `disks` stand for other paths.
        """
        cpu_seconds = self.cpu_seconds + -(-size_bytes // GIB) * self.cpu_seconds_per_gib
        limits = ProcessLimits(
            address_space=self.address_space_bytes,
            stack_size=_STACK_BYTES,
            cpu_time=cpu_seconds,
            core_file_size=0,  # what it was reading stays secret
            file_size=None if writes else LONGEST_COMPLAINT,
        )
        with _given(argv, names, opened or {}, disks or {}) as (given, names, descriptors, inherited):
            command = [
                *(sys.executable, "-m", "oslo_concurrency.prlimit", *limits.prlimit_args(), "--"),
                *(*prefix, *confined(given, files=[_installed(), *_files(given)], descriptors=descriptors)),
            ]
            returncode, said, complaint = ended(
                command, cancelled, inherited, stall_seconds=self.stall_seconds, names=names
            )
            if returncode in (-signal.SIGKILL, -signal.SIGXCPU):
                raise ConversionFailed(
                    f"qemu-img was killed; it may compute for {duration(cpu_seconds)}, or memory was short"
                )
            if returncode not in answers and _WITH_LOG in complaint:
                raise ConversionFailed(_REPLAY.format(next(iter(names.values()))))
            if returncode not in answers:
                raise ConversionFailed(_line(complaint or said, names) or f"qemu-img ended with {returncode}")
            return said


def qemu_img_version() -> tuple[int, ...]:
    """Tell the version of the qemu-img that is installed.

    Raises:
        MissingProgram: none is.
        ConversionFailed: it does not say.
    """
    _installed()
    with translated(_STARTING, doing="qemu-img cannot be run"):
        done = subprocess.run(  # noqa: S603 - it reads nothing
            [_QEMU_IMG, "--version"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=STALL_SECONDS,
        )
    if found := re.search(r"version (\d+(?:\.\d+)*)", done.stdout):
        return tuple(map(int, found[1].split(".")))
    raise ConversionFailed(f"qemu-img does not say its version: {_line(done.stdout + done.stderr, {})}")


def qemu_img_features() -> frozenset[str]:
    """Tell which features of qcow2 the qemu-img that is installed reads, of those that not every one does.

    Raises:
        MissingProgram: none is.
    """
    path = _installed()
    found = Path(path).stat()
    return _features_of(path, (found.st_ino, found.st_mtime_ns))


@functools.lru_cache(maxsize=1)
def _features_of(path: str, _identity: tuple[int, ...]) -> frozenset[str]:
    """What a qemu-img can make it can read; asked once for each that is installed."""
    with translated(_STARTING, doing="qemu-img cannot be run"):
        done = subprocess.run(  # noqa: S603 - it reads nothing
            [path, "create", "-f", "qcow2", "-o", "help"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=STALL_SECONDS,
        )
    return frozenset(name for name in _NEWER if re.search(rf"^\s*{name}=", done.stdout, re.MULTILINE))


def _installed() -> str:
    if (path := shutil.which(_QEMU_IMG)) is None:
        raise MissingProgram(_QEMU_IMG, "qemu-utils")
    return path


def _program_of(plan: CopyPlan) -> int:
    """Where in a plan's command qemu-img stands; before it is what the operator puts there."""
    if plan.refused:
        raise InvalidFact("CopyPlan", f"it is refused: {'; '.join(map(str, plan.refused))}")
    if plan.policy is not Policy.STRICT:
        raise InvalidFact("CopyPlan", "it is what Cinder runs, which names no format to qemu-img where it has none")
    if _QEMU_IMG not in plan.argv:
        raise InvalidFact("CopyPlan", "it has no command of qemu-img")
    return plan.argv.index(_QEMU_IMG)


@contextmanager
def _made(target: Path) -> Iterator[None]:
    """A file that is yet to be made, which the confined cannot; it goes again where nothing comes of it."""
    if os.path.lexists(target):
        yield
        return
    try:
        target.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise ConversionFailed(f"the target cannot be made: {error.strerror}") from error
    with undone_on_failure(f"the file {target}", target.unlink):
        yield


def _opened(path: str, file: BinaryIO | None) -> dict[str, BinaryIO]:
    return {path: file} if file else {}


@contextmanager
def _given(
    argv: Sequence[str],
    names: Mapping[str, str],
    opened: Mapping[str, BinaryIO],
    disks: Mapping[str, Disk | DeviceDisk],
) -> Iterator[tuple[list[str], Mapping[str, str], dict[str, int], list[int]]]:
    """Give a command in which disks stand for their paths, names for what it says, and what it inherits.

    Of what it inherits, the files are given by their paths too.
    """
    given, descriptors, inherited = list(argv), dict[str, int](), list[int]()
    disks = dict(disks)
    with ExitStack() as serving:
        for path, file in opened.items():
            if (disk := disk_of(file)) is not None:
                disks[path] = disk
                continue
            descriptors[path] = number = file.fileno()
            names = {**names, f"/proc/self/fd/{number}": names[path], f"/fd/{number}": names[path]}
            inherited.append(number)
        for path, each in disks.items():
            number = serving.enter_context(served(each))
            argument = disk_argument(number)
            given = [argument if word == path else word for word in given]
            names = {**names, argument: names[path]}
            inherited.append(number)
        yield given, names, descriptors, inherited


def _files(argv: Sequence[str]) -> list[str]:
    """The files that a command names: its ends, and those with the keys."""
    named = [path.replace(",,", ",") for argument in argv for path in _NAMED_FILE.findall(argument)]
    return list(dict.fromkeys([*(argument for argument in argv if argument.startswith("/")), *named]))


def _line(text: str, names: Mapping[str, str]) -> str:
    """The last error that it named, with a hint that follows; files by their names, and nothing of other paths.

    The last line where it named none.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [place for place, line in enumerate(lines) if line.startswith(f"{_QEMU_IMG}: ")]
    line = " ".join(lines[errors[-1] if errors else -1 :])
    for path in sorted(names, key=len, reverse=True):  # one may begin as another does
        line = line.replace(f"'{path}'", names[path]).replace(path, names[path])
    line = "".join(c if c.isprintable() else "?" for c in _PATH.sub("(a path)", line))
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
