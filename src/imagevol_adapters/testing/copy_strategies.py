"""Hypothesis strategies for copies, and for what the inspection of an untrusted image may find.

Most facts of a case are in order, so that many copies are planned and the others are refused for one reason or a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from imagevol_core import (
    GIB,
    CinderInspection,
    Cleared,
    CopyPlan,
    CopySettings,
    CopySource,
    CopyTarget,
    DriverGuarantee,
    FreshThin,
    Inspection,
    LuksCipher,
    Policy,
    SafetyDecision,
    SafetySettings,
    ZeroProof,
    check_image_safety,
    plan_copy,
)

__all__ = ["CopyCase", "SafetyCase", "copy_cases", "safety_cases"]

T = TypeVar("T")

_DEVICE = "/dev/mapper/volume"
_FORMATS = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vpc", "vhdx", "luks", "parallels", "ploop", "iso", "gpt", "qed")
_HOSTILE = (None, "", "RAW", "nbd", "json:{}", "raw,file.locking=off")
_SIZES = (0, 1, 511, 512, 513, GIB - 1, GIB + 1, 2 * GIB, (1 << 53) + 1, 10**400, None)
_BLOCKSIZES = ("4K", "4k", "64Ki", "512", "+2M", "0", "-1", "1.5M", "1MB", "b", "")
_DIE = st.integers(0, 99)


def _mostly(draw: DrawFn, usual: T, others: Sequence[T]) -> T:
    """The usual fact, or one time in ten one of the others; shrinks to the usual."""
    return usual if draw(_DIE) < 90 else draw(st.sampled_from(others))


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyCase:
    """All the facts of one copy.

    Args:
        source: where the bytes come from.
        target: where they go.
        settings: what the operator has and allows.
    """

    source: CopySource
    target: CopyTarget
    settings: CopySettings = CopySettings()  # noqa: RUF009 - it is frozen

    def decide(self, policy: Policy = Policy.STRICT) -> CopyPlan:
        """Ask the core."""
        return plan_copy(self.source, target=self.target, settings=self.settings, policy=policy)


@st.composite
def copy_cases(draw: DrawFn) -> CopyCase:
    """Copies of a GiB, from and to all formats, into devices and files.

    Args:
        draw: Hypothesis gives it.
    """
    device = _mostly(draw, _DEVICE, ["/var/a,b", "/var/c:d", "json:{}", "-n", "nbd://h", "/dev/missing", "/a\0b", ""])
    exists = _mostly(draw, True, [False])
    source_format = draw(st.sampled_from(["raw", "qcow2", *_FORMATS]))
    target_format = _mostly(draw, "raw", [*_FORMATS, "raw", "luks", "-O"])
    source = CopySource(
        path=_mostly(draw, "/tmp/image", ["/tmp/a,b", device, "image", "json:{}"]),  # noqa: S108 - never opened
        format=_mostly(draw, source_format, _HOSTILE),
        declared_format=draw(st.none() | st.sampled_from([*_FORMATS, "ami"])),
        size_bytes=_mostly(draw, GIB, _SIZES),
        virtual_size_bytes=_mostly(draw, GIB, _SIZES),
        direct_io=draw(st.sampled_from([True, False, None])),
        key_file=_key(draw, source_format == "luks"),
        block_map=_mostly(draw, False, [True]),
    )
    target = CopyTarget(
        path=device,
        format=target_format,
        size_bytes=_mostly(draw, draw(st.sampled_from([GIB, 2 * GIB])), [0, GIB - 1, GIB + 511]) if exists else None,
        block_device=draw(st.sampled_from([True, False, None])),
        direct_io=draw(st.sampled_from([True, False, None])),
        can_punch=draw(st.sampled_from([True, False, None])),
        zero=draw(_proofs(device)),
        has_backing_file=_mostly(draw, False, [True, None]),
        allocate=_mostly(draw, False, [True]),
        compress=draw(st.booleans()),
        subformat=_mostly(draw, None, ["streamOptimized"]),
        key_file=_key(draw, target_format == "luks"),
        cipher=draw(st.sampled_from([None, LuksCipher(algorithm="aes-256", mode="xts", ivgen="plain64")])),
    )
    settings = CopySettings(
        qemu_img=_mostly(draw, True, [False]),
        conversion=_mostly(draw, True, [False]),
        prefix=_mostly(draw, (), [("cgexec", "-g", "blkio:copy")]),
        dd_blocksize=_mostly(draw, "1M", _BLOCKSIZES),
    )
    return CopyCase(source=source, target=target, settings=settings)


def _key(draw: DrawFn, wanted: bool) -> str | None:
    return "/run/key,1" if wanted and _mostly(draw, True, [False]) else _mostly(draw, None, ["/run/key"])


def _proofs(device: str) -> st.SearchStrategy[ZeroProof | None]:
    """None, good ones, of another target, of a part of it."""
    paths = st.sampled_from([device, device, device, "/dev/other"])
    return st.one_of(
        st.none(),
        st.builds(FreshThin, path=paths),
        st.builds(DriverGuarantee, path=paths, driver=st.just("rbd")),
        st.builds(Cleared, path=paths, size_bytes=st.sampled_from([2 * GIB, GIB, GIB - 1, 0])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyCase:
    """All the facts of one untrusted image.

    Args:
        inspection: what was found in it.
        declared_format: what Glance says of it.
        size_gib: the volume that it is for.
        settings: what the operator allows, and what the host can read.
    """

    inspection: Inspection
    declared_format: str | None
    size_gib: int | None = None
    settings: SafetySettings = SafetySettings()  # noqa: RUF009 - it is frozen

    def decide(self, policy: Policy = Policy.STRICT) -> SafetyDecision:
        """Ask the core."""
        return check_image_safety(
            self.inspection,
            declared_format=self.declared_format,
            size_gib=self.size_gib,
            settings=self.settings,
            policy=policy,
        )


def _found_by_cinder(content: str) -> st.SearchStrategy[CinderInspection]:
    """What Cinder itself finds in an image of this content: that, or raw, or another."""
    known = [content] if content in ("qcow2", "vhd", "vhdx", "vmdk", "vdi", "qed") else []
    return st.builds(
        CinderInspection,
        format=st.sampled_from([*known, *known, "raw", "raw", "vdi"]),
        safe=st.sampled_from([True, True, True, False, None]),
        opens=st.sampled_from([True, True, None, False]),
        virtual_size_bytes=st.sampled_from([None, GIB, GIB + 1, 2 * GIB]),
    )


@st.composite
def safety_cases(draw: DrawFn) -> SafetyCase:
    """Images, most of which are what they are declared to be.

    Args:
        draw: Hypothesis gives it.
    """
    content = draw(st.sampled_from(["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "luks", "iso", "gpt", "qed"]))
    more = st.sampled_from([(), ("gpt",), ("iso", "gpt"), ("qcow2",), ("vmdk",), ("luks",)])
    usual = {"gpt": "raw"}.get(content, content)
    checks = ["mbr", "unknown_features", "descriptor", "footer", "version", "banned"]
    return SafetyCase(
        inspection=Inspection(
            formats=_mostly(draw, (content,), [(), (content, *draw(more)), draw(more)]),
            header_parses=_mostly(draw, True, [False, None]),
            virtual_size_bytes=_mostly(draw, GIB, _SIZES),
            has_backing_file=_mostly(draw, False, [True, None]),
            has_data_file=_mostly(draw, False, [True, None]),
            subformat=_mostly(draw, "streamOptimized", ["monolithicSparse", "monolithicFlat", "STREAMOPTIMIZED", None]),
            text_only=_mostly(draw, False, [True, None]),
            failed_checks=_mostly(draw, frozenset(), [None, frozenset({draw(st.sampled_from(checks))})]),
            missing_bytes=_mostly(draw, 0, [None, 1, GIB]),
            corruptions=_mostly(draw, 0, [None, 1]),
            version=_mostly(draw, 3, [None, 1, 2, 4]),
            features=_mostly(draw, frozenset(), [None, frozenset({"dirty"}), frozenset({"extended_l2"})]),
            packed_as=_mostly(draw, None, ["gzip", "tar"]),
            probed_as=_mostly(draw, None, ["vmdk", "parallels", content]),
            cinder=_mostly(draw, None, [draw(_found_by_cinder(content))]),
        ),
        declared_format=_mostly(draw, usual, [*_FORMATS, "ami", "AMI", "aki", None, "", "RAW"]),
        size_gib=_mostly(draw, 1, [0, 2, 1 << 23, None]),
        settings=SafetySettings(
            nonfatal_checks=_mostly(draw, frozenset(), [frozenset({"mbr"})]),
            qemu_features=_mostly(draw, frozenset(), [frozenset({"extended_l2"})]),
        ),
    )
