"""An image file that was inspected, and that is converted onto a device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import attrs

from imagevol_adapters.blockmaps.contents import MAPPED, contents
from imagevol_adapters.engine import PART_BYTES, Limits, clear_device, clear_rest, verified, write_stream
from imagevol_adapters.engine.threads import in_thread
from imagevol_adapters.engine.watching import watched_device
from imagevol_adapters.inspection.held_file import HeldFile
from imagevol_adapters.inspection.in_time import reading
from imagevol_adapters.ports import Converter, Device
from imagevol_adapters.transfers.remote_image import RemoteImage
from imagevol_core import (
    Cleared,
    ConversionFailed,
    CopyMethod,
    CopyPlan,
    CopySource,
    CopyTarget,
    DeviceStalled,
    Digest,
    DriverGuarantee,
    RequestRefused,
    SafetySettings,
    SourceStalled,
    TransferStalled,
    ZeroHandling,
    ZeroProof,
    decide_zeros,
    plan_copy,
)
from imagevol_core.sentences import duration

__all__ = ["CheckedFile", "Proof", "zeros_for"]

Proof = Callable[[str], ZeroProof]
"""Makes of a device's path the proof that it reads as zeros."""


@attrs.frozen(kw_only=True)
class CheckedFile:
    """An image file that was inspected, and may be converted.

    Attributes:
        path: of the file.
        what: names it in an error.
        source: what is known of it.
        size_bytes: of the disk in it.
    """

    path: Path
    what: str
    source: CopySource
    size_bytes: int
    _held: HeldFile | RemoteImage

    @classmethod
    @contextmanager
    def check(
        cls,
        path: Path,
        *,
        disk_format: str,
        converter: Converter,
        digest: Digest | None,
        what: str,
        safety: SafetySettings | None = None,
        limits: Limits | None = None,
    ) -> Iterator[CheckedFile]:
        """Open a file while the context lasts, and look at it before anything is made of it.

        Args:
            path: of the file.
            disk_format: what it is declared to be.
            converter: inspects it.
            digest: what it must have; when None nothing is compared.
            what: names it in an error.
            safety: what the operator allows.
            limits: how long the file may give no data.

        Raises:
            UnsafeImage: a rule refuses it.
            ContentMismatch: it has another digest.
            SourceFailed: it cannot be read, or another process has it open for writing.
            SourceStalled: it gives no data.
        """
        limited = limits or Limits()
        with HeldFile.open(path, what=what, stall_seconds=limited.stall_seconds) as held:
            file = held.file
            if digest:
                watch = limited.source_watch()

                def read() -> bytes:
                    with watch.during(what):
                        return file.read(PART_BYTES)

                data = verified(iter(read, b""), digest, what, given=True)
                with reading(what):
                    in_thread(lambda: deque(data, maxlen=0), patience=watch.patience)
            yield cls.examined(held, path, disk_format=disk_format, converter=converter, what=what, safety=safety)

    @classmethod
    def examined(
        cls,
        held: HeldFile | RemoteImage,
        path: Path,
        *,
        disk_format: str,
        converter: Converter,
        what: str,
        safety: SafetySettings | None = None,
    ) -> CheckedFile:
        """Look at what is open already; `path` names it in a command.

        Raises:
            UnsafeImage: a rule refuses it.
            SourceFailed: it cannot be read.
        """
        inspection = converter.examine(
            str(path), declared_format=disk_format, size_gib=None, what=what, safety=safety, file=held.file
        )
        size_bytes = inspection.virtual_size_bytes or 0
        source = CopySource(
            path=str(path.absolute()),
            format=inspection.formats[0],
            size_bytes=held.size_bytes,
            virtual_size_bytes=size_bytes,
            block_map=inspection.formats[0] in MAPPED,
        )
        return cls(path=path, what=what, source=source, size_bytes=size_bytes, held=held)

    def convert_onto(
        self, device: Device, *, converter: Converter, proof: Proof | None, limits: Limits, written: bool = False
    ) -> None:
        """Convert it onto a device, let the rest read as zeros, and flush it.

        A device that was `written` before is not taken to hold zeros, whatever its driver promises of a new one.

        Raises:
            RequestRefused: the plan is refused.
            ConversionFailed: qemu-img could not convert it.
            SourceFailed: the file was changed meanwhile.
            DeviceFailed: the rest could not be cleared.
            TransferStalled: the file or the device has not answered in time.
        """
        target = replace(_target(device, proof), zero=None) if written else _target(device, proof)
        plan = plan_copy(self.source, target=target)
        if plan.refused:
            raise RequestRefused(f"{self.what}: {'; '.join(verdict.text for verdict in plan.refused)}")
        if plan.method is CopyMethod.BLOCKS and plan.zeros is not None:
            self._copy_blocks(device, plan.zeros, limits)
        else:
            self._run(plan, device, target, converter, limits)

    def _copy_blocks(self, device: Device, zeros: ZeroHandling, limits: Limits) -> None:
        """Copy the blocks that the file's own table names, and make the rest of the device read as zeros."""
        data = contents(self._held.file, disk_bytes=self.size_bytes)
        write_stream(data, device, size_bytes=self.size_bytes, zeros=zeros, algorithms=(), limits=limits)
        self._held.refuse_changed()

    def _run(self, plan: CopyPlan, device: Device, target: CopyTarget, converter: Converter, limits: Limits) -> None:
        """Run the command of a plan, and make the rest of the device read as zeros."""
        if plan.clear_first and clear_device(device, limits=limits):
            zero = Cleared(path=device.path, size_bytes=device.size_bytes)
            plan = plan_copy(self.source, target=replace(target, zero=zero))
        self._held.read_through()
        try:
            converter.convert(
                plan,
                size_bytes=self.size_bytes,
                cancelled=limits.cancelled.is_set,
                file=self._held.file,
                device=device if device.block_device is None else None,
            )
        except TransferStalled as stalled:
            if stalled.process_id is not None:
                device.leave_open()
            raise self._named(stalled, device) from stalled.__cause__
        except ConversionFailed as failed:
            raise ConversionFailed(f"{self.what} cannot be converted onto {device.what}: {failed}") from failed
        self._held.refuse_changed()
        if plan.zeros is not None and plan.zero_from_bytes is not None:
            clear_rest(device, offset=plan.zero_from_bytes, zeros=plan.zeros, limits=limits)
        watch = limits.device_watch(device)
        in_thread(watched_device(device, watch).flush, patience=watch.patience)

    def _named(self, stalled: TransferStalled, device: Device) -> TransferStalled:
        """Let the error name the image and the volume, and not the paths that qemu-img was given."""
        named: TransferStalled
        if isinstance(stalled, DeviceStalled):
            named = DeviceStalled(device.what, doing=stalled.doing, seconds=stalled.seconds, look_at=device.look_at)
        elif isinstance(stalled, SourceStalled):
            named = SourceStalled(self.what, seconds=stalled.seconds)
        else:
            named = TransferStalled(
                f"the conversion of {self.what} onto {device.what} stalled: it made no progress for "
                f"{duration(stalled.seconds)}; look at the storage of both",
                what=stalled.what,
                seconds=stalled.seconds,
            )
        named.process_id, named.leftovers = stalled.process_id, stalled.leftovers
        return named


def zeros_for(device: Device, proof: Proof | None) -> ZeroHandling:
    """Ask the core what becomes of a stream's zeros on a device."""
    return decide_zeros(_target(device, proof)).zeros


def _target(device: Device, proof: Proof | None) -> CopyTarget:
    promised = DriverGuarantee(path=device.path, driver=device.guarantee) if device.guarantee else None
    return CopyTarget(
        path=device.path,
        size_bytes=device.size_bytes,
        block_device=device.block_device,
        direct_io=device.direct_io,
        can_punch=device.can_clear,
        zero=proof(device.path) if proof else promised,
    )
