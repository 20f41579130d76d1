"""`check_image_safety` under UPSTREAM refuses what Cinder refuses on the way to a volume, for the same reason.

Asked is `fetch_to_volume_format`, up to the command that it would run: of facts, and of real files, at which Cinder's
own inspector and qemu-img look.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from imagevol_adapters.inspection.inspector import inspect_file
from imagevol_adapters.qemu.converter import QemuConverter
from imagevol_adapters.testing.copy_strategies import SafetyCase, safety_cases
from imagevol_core import GIB, CinderInspection, Inspection, Policy, failed
from tests.adapters.inspecting import (
    FILES,
    HOSTILE,
    MIB,
    ONE_FILE,
    SIZE,
    changed,
    descriptor,
    made,
    needed,
    part,
    qemu_img,
    sparse,
    stream_optimized,
    with_footer,
    without_end,
)
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES

PATH = "/conversion/image"

# Which exception Cinder ends with where this rule fails first, if its text names none, and the function that raises it.
ERRORS = {
    "inspector-safe": ("Invalid", ""),
    "inspector-name": ("", ""),
    "virtual-size-fits": ("ImageUnacceptable", ""),
    "no-backing-file": ("ImageUnacceptable", "fetch_to_volume_format"),
    "content-as-declared": ("ImageUnacceptable", "check_image_format"),
    "vmdk-subformat": ("ImageUnacceptable", "check_vmdk_image"),
    "no-data-file": ("ImageUnacceptable", "check_qcow2_image"),
}


MONOLITHIC = 'createType="monolithicSparse"'


def fixed_vhd_of_a_gib(path: Path) -> None:
    """A disk of just so much, and a footer after it."""
    qemu_img("create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size=on", path, str(GIB))


# Files that end early, whose header is not what Cinder's inspector reads, or that are as long as only it counts.
MORE: dict[str, tuple[Callable[[Path], None], str, list[str]]] = {
    "qcow2-after-its-header": (part(made("qcow2"), 600), "qcow2", []),
    "vdi-after-its-header": (part(made("vdi"), 600), "vdi", []),
    "vhd-of-511-bytes": (part(made("vpc"), 511), "vhd", []),
    "vhd-of-512-bytes": (part(made("vpc"), 512), "vhd", []),
    "vhdx-within-its-metadata": (part(made("vhdx"), 2 * MIB), "vhdx", []),
    "vhdx-before-its-size": (part(made("vhdx"), 3 * MIB - 1000), "vhdx", []),
    "vmdk-within-its-text": (part(made("vmdk"), 5000), "vmdk", []),
    "vmdk-stream-within-its-text": (part(stream_optimized, 5000), "vmdk", []),
    "vmdk-stream-without-its-end": (without_end(stream_optimized, 512), "vmdk", []),
    "vmdk-with-a-larger-footer": (with_footer(3 * SIZE // 512), "vmdk", []),
    "vmdk-of-version-4": (changed(made("vmdk"), (4, struct.pack("<I", 4))), "vmdk", []),
    "vmdk-with-its-text-elsewhere": (changed(made("vmdk"), (28, struct.pack("<Q", 2))), "vmdk", []),
    "vmdk-with-an-unknown-line": (sparse(descriptor("what is this", MONOLITHIC, ONE_FILE)), "vmdk", []),
    "vmdk-that-is-not-ascii": (sparse(descriptor("# ä", MONOLITHIC, ONE_FILE)), "vmdk", []),
    "vmdk-that-names-a-folder": (sparse(descriptor(MONOLITHIC, 'RW 4096 SPARSE "a/b"')), "vmdk", []),
    "vmdk-without-extents": (sparse(descriptor(MONOLITHIC)), "vmdk", []),
    "qcow2-with-subclusters": (made("qcow2", "-o", "extended_l2=on"), "qcow2", []),
    "qcow2-of-version-2": (made("qcow2", "-o", "compat=0.10"), "qcow2", []),
    "fixed-vhd-of-a-gib": (fixed_vhd_of_a_gib, "raw", []),
}
REAL = {**FILES, **HOSTILE, **MORE}

# What oslo.utils finds a VMDK, VHDX or VHD, and Cinder reads as raw: the page of differences names these kinds.
READ_AS_RAW = {
    "short-vhd",
    "short-vhdx",
    "short-vmdk",
    "vhd-of-511-bytes",
    "vhdx-before-its-size",
    "vhdx-points-nowhere",
    "vhdx-points-to-nothing",
    "vhdx-within-its-metadata",
    "vmdk-footer",
    "vmdk-of-version-4",
    "vmdk-stream-within-its-text",
    "vmdk-with-a-larger-footer",
    "vmdk-with-its-text-elsewhere",
    "vmdk-within-its-text",
    "vmdk-without-its-end",
}


def sound(name: str, **changes: Any) -> SafetyCase:
    """An image that nothing refuses, with one fact changed; which of them chance would seldom draw alone."""
    usual = Inspection(
        formats=(name,),
        header_parses=True,
        virtual_size_bytes=GIB,
        has_backing_file=False,
        has_data_file=False,
        failed_checks=frozenset(),
    )
    return SafetyCase(inspection=replace(usual, **changes), declared_format=name, size_gib=1)


class TestFacts:
    """The same images are refused, each by the same check."""

    def test_the_images_that_cinder_refuses_are_refused_under_upstream(self, cinder_copy: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(safety_cases())
        @example(sound("qcow2", has_data_file=None))
        @example(sound("qcow2", has_data_file=True, cinder=CinderInspection(format="qcow2", safe=True)))
        @example(sound("vmdk", subformat="monolithicFlat"))
        @example(sound("vmdk", text_only=True, cinder=CinderInspection(format="vmdk", safe=True)))
        @example(replace(sound("raw", virtual_size_bytes=10**400), size_gib=None))
        def the_answers_agree(case: SafetyCase) -> None:
            content = (*case.inspection.formats, "raw")[0]  # of several, what Cinder finds is no fact here
            case = replace(case, inspection=replace(case.inspection, formats=(content,)))
            if (cinder := case.inspection.cinder) is not None and cinder.safe is None:  # files have such descriptors
                case = replace(case, inspection=replace(case.inspection, cinder=replace(cinder, safe=False)))
            if content == "qcow2" and case.inspection.has_data_file:  # which is in the same header
                case = replace(case, inspection=replace(case.inspection, failed_checks=frozenset({"data_file"})))
            if (cinder := case.inspection.cinder) is not None:
                content = cinder.format
            theirs = cinder_copy.ask(
                "fetch",
                facts=host(case.inspection, content),
                image={"id": "i", "disk_format": case.declared_format, "size": 1, "container_format": "bare"},
                target="/volume",
                volume_format="raw",
                size_gib=case.size_gib,
                blocksize="1M",
            )
            kinds[compared(case, theirs)] += 1

        the_answers_agree()
        assert set(kinds) == {"safe", *ERRORS}


class TestFiles:
    """Cinder's own inspector and qemu-img look at real files, and ours at the same ones."""

    @pytest.mark.parametrize("name", sorted(REAL))
    def test_the_answers_of_cinder_and_of_the_upstream_policy_agree(
        self, name: str, cinder_copy: Worker, tmp_path: Path
    ) -> None:
        needed()
        make, declared, _ = REAL[name]
        path = tmp_path / "image"
        make(path)
        inspection = QemuConverter().examine_as_cinder(str(path), what="it")
        for says, size_gib in [(declared, 0), *((says, 1) for says in sorted({declared, "raw", "ami"}))]:
            theirs = cinder_copy.ask("check_file", path=str(path), declared=says, size_gib=size_gib)
            compared(SafetyCase(inspection=inspection, declared_format=says, size_gib=size_gib), theirs)

    @pytest.mark.parametrize("name", sorted(READ_AS_RAW))
    def test_cinder_reads_as_raw_what_is_a_disk_of_another_format(self, name: str, tmp_path: Path) -> None:
        needed()
        make, declared, _ = REAL[name]
        make(tmp_path / "image")
        inspection = inspect_file(tmp_path / "image")
        assert inspection.cinder is not None
        assert inspection.cinder.format == "raw"
        assert inspection.formats == (declared,)
        as_raw = SafetyCase(inspection=inspection, declared_format="raw", size_gib=1)
        assert as_raw.decide(Policy.UPSTREAM).safe
        assert not as_raw.decide(Policy.STRICT).safe


def vhdx(data: DataObject) -> bytes:
    """A VHDX, or nearly: of any regions and items, which lie before, after or across what points to them."""
    few = st.integers(0, 3)
    at = data.draw(st.sampled_from([MIB, MIB, 261_632, 261_000, 262_144, 262_145, 200_000, 196_096, 196_095]))
    known = data.draw(st.sampled_from([True, True, True, False]))
    guid = METADATA if known else OTHER
    regions = data.draw(few)
    counted = data.draw(st.sampled_from([regions + 1, regions + 1, regions, 2047, 2048]))
    table = struct.pack("<4sIII", data.draw(st.sampled_from([b"regi"] * 5 + [b"REGI"])), 0, counted, 0)
    table += b"".join(OTHER + bytes(16) for _ in range(regions)) + guid + struct.pack("<QII", at, MIB, 1)
    items = data.draw(few)
    item_at = data.draw(st.sampled_from([65_536, 65_536, 0, 1, 32, 100, 500, 600, 70_000, (1 << 32) - 1]))
    length = data.draw(st.sampled_from([8, 8, 0, 1, 511, 512, 513, 4096, 65_536, 65_537]))
    holds = data.draw(st.sampled_from([items + 1, items + 1, items, 2047, 2048, 65_535]))
    metadata = struct.pack("<8s2xH20x", data.draw(st.sampled_from([b"metadata"] * 5 + [b"metadatA"])), holds)
    metadata += (
        b"".join(OTHER + bytes(16) for _ in range(items)) + VIRTUAL_SIZE + struct.pack("<III4x", item_at, length, 0)
    )
    whole = bytearray(data.draw(st.sampled_from([at + 131_072, at + 65_536, at + 65_535, at + 3000, 262_144, 262_656])))
    pieces = [(0, b"vhdxfile"), (REGIONS_AT, table)]
    for place, piece in [*pieces, (data.draw(st.sampled_from([at, at, 261_632, 262_144])), metadata)]:
        whole[place : place + len(piece)] = piece
    return bytes(whole)


def vmdk(data: DataObject) -> bytes:
    """A VMDK, or nearly, with lines that Cinder knows and lines that it does not."""
    lines = [
        "# a",
        "",
        " ",
        "ddb.x = 1",
        "DDB",
        "a=b",
        "a b=c",
        "a =b",
        "RW 1 SPARSE",
        "rdonly /x",
        "noaccess",
        "rw",
        "b",
        "=",
        "\t#",
        "\x1c",
    ]
    text = "\n".join(data.draw(st.lists(st.sampled_from([*lines, "rw a"]), max_size=5))).encode()
    text += data.draw(st.sampled_from([b"", b"\0", b"\0x", b"\xff", b"\0\n"]))
    described = data.draw(st.sampled_from([1, 1, 2, 0, 4000, 1 << 60]))
    version, at = data.draw(st.sampled_from([1, 1, 2, 3, 0, 4])), data.draw(st.sampled_from([1, 1, 1, 0, 2]))
    directory = data.draw(st.sampled_from([26, 26, (1 << 64) - 1]))
    header = struct.pack("<4sIIQQQQIQQ", b"KDMV", version, 3, 4096, 128, at, described, 512, 21, directory)
    vdi = data.draw(st.sampled_from([b"", b"", b"\x7f\x10\xda\xbe"]))
    length = data.draw(st.sampled_from([512, 1024, 1023, 1025, 3000, MIB + 511, MIB + 512]))
    return ((header.ljust(64, b"\0") + vdi).ljust(512, b"\0") + text).ljust(length, b"\0")[:length]


def of_one_sector(data: DataObject) -> bytes:
    """What the first sector decides, or nearly."""
    magics = [b"QFI\xfb\0\0\0\3", b"QED\0", b"conectix", b"vhdxfile", b"KDMV", b"LUKS\xba\xbe\0\1", b""]
    head = bytearray(512)
    for place, values in {
        0: magics,
        8: [b"", b"", b"\1", b"\0\0\0\0\0\0\0\1"],
        64: [b"", b"", b"\x7f\x10\xda\xbe"],
        72: [b"", b"", *(struct.pack(">Q", 1 << bit) for bit in (0, 1, 2, 3, 4, 7, 8, 40, 63))],
    }.items():
        value = data.draw(st.sampled_from(values))
        head[place : place + len(value)] = value
    return bytes(head)[: data.draw(st.sampled_from([512, 512, 511, 80, 8, 0]))] + data.draw(st.binary(max_size=3))


REGIONS_AT = 192 << 10
METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
VIRTUAL_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8").bytes_le
OTHER = bytes(range(16))


class TestInspector:
    """`inspect_as_cinder` finds what Cinder's own inspector finds in any file."""

    @pytest.mark.parametrize("kind", [vhdx, vmdk, of_one_sector])
    def test_our_inspector_finds_what_the_one_of_cinder_finds(
        self, kind: Callable[[DataObject], bytes], cinder_copy: Worker, tmp_path: Path
    ) -> None:
        path, answers = tmp_path / "image", Counter[str]()

        @settings(max_examples=max(100, settings().max_examples))
        @given(st.data())
        def they_agree(data: DataObject) -> None:
            path.write_bytes(kind(data))
            found = inspect_file(path).cinder
            assert found is not None
            theirs = cinder_copy.ask("inspect", path=str(path))
            answers[f"{found.format} {found.safe}"] += 1
            # Of QED Cinder's inspector has no name, which does not matter, because it is never safe.
            ours = {"format": "raw" if found.format == "qed" else found.format, "safe": found.safe}
            assert ours == {"format": theirs["format"], "safe": theirs.get("safe")}

        they_agree()
        assert len(answers) > 1


def host(inspection: Inspection, content: str) -> dict[str, Any]:
    """A host on which Cinder's inspector and qemu-img find what was found."""
    cinder = inspection.cinder
    text_only = cinder is None and inspection.text_only is True  # which Cinder's inspector finds no VMDK
    alone = content in ("luks", "gpt", "iso") or (content == "vmdk" and text_only)
    found = "raw" if alone else content
    linked = inspection.has_backing_file is True and found != "raw"
    checks = (inspection.failed_checks or frozenset()) - {"mbr"}
    unsafe = found == "qed" or (found == "qcow2" and (linked or checks)) or (found == "vmdk" and checks)
    said: dict[str, Any] = {"format": found, "virtual-size": inspection.virtual_size_bytes}
    if linked:
        said["backing-filename"] = "/etc/passwd"
    if found == "vmdk" and inspection.subformat is not None:
        said["format-specific"] = {"data": {"create-type": inspection.subformat}}
    if found == "qcow2" and inspection.has_data_file is not None:
        said["format-specific"] = {"data": {"data-file": "/etc/passwd"} if inspection.has_data_file else {}}
    if cinder is not None:
        unsafe = not cinder.safe
        if cinder.virtual_size_bytes is not None:
            said["virtual-size"] = cinder.virtual_size_bytes
        if cinder.opens is False:
            return host_with(None if unsafe else found, {})
    info = {found: said} | ({"luks": said | {"format": "luks"}} if content == "luks" else {})
    return host_with(None if unsafe else found, info)


def host_with(inspector: str | None, info: dict[str, Any]) -> dict[str, Any]:
    """A host on which the inspector says this name, and qemu-img that of the formats that it is asked for."""
    return {
        "conversion": True,
        "qemu_img": True,
        "prefix": [],
        "block_device": False,
        "temporary": PATH,
        "contents": {PATH: {"inspector": inspector, "info": info}},
    }


def compared(case: SafetyCase, theirs: dict[str, Any]) -> str:
    """What Cinder does, which is held to be what the decision says."""
    decision = case.decide(Policy.UPSTREAM)
    refused = failed(decision.verdicts)
    if not refused:
        assert decision.safe
        # A size that fits into no float fails where Cinder reports the speed: after the conversion.
        assert theirs["raises"] is None or theirs["within"] == "_convert_image", theirs
        return "safe"
    first = refused[0]
    error, within = ERRORS[first.rule]
    if named := re.match(r"Cinder fails with an? (\w+)", first.text):
        error = named[1]
    assert theirs["raises"] == error, (theirs, first)
    assert within in ("", theirs["within"])
    return first.rule
