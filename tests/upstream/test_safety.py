"""`check_image_safety` under UPSTREAM refuses what Cinder refuses on the way to a volume, for the same reason.

Asked is `fetch_to_volume_format`, up to the command that it would run: of facts, and of real files, at which Cinder's
own inspector and qemu-img look.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from imagevol_adapters.inspection import inspect_file
from imagevol_adapters.qemu import QemuConverter
from imagevol_adapters.testing.copy_strategies import SafetyCase, safety_cases
from imagevol_core import GIB, Inspection, Policy, UnsafeImage, failed
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

# Which exception Cinder ends with where this rule fails first, and the function of Cinder's that raises it.
ERRORS = {
    "inspector-safe": ({"Invalid"}, ""),
    "inspector-name": ({"ProcessExecutionError"}, ""),
    "virtual-size-fits": ({"ImageUnacceptable", "TypeError", "OverflowError"}, ""),
    "no-backing-file": ({"ImageUnacceptable"}, "fetch_to_volume_format"),
    "content-as-declared": ({"ImageUnacceptable"}, "check_image_format"),
    "vmdk-subformat": ({"ImageUnacceptable"}, "check_vmdk_image"),
    "no-data-file": ({"ImageUnacceptable"}, "check_qcow2_image"),
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

# Where `UPSTREAM` differs from Cinder: the docstring of `safety_rules` and the page of differences say so.
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
REFUSED_BY_QEMU_IMG = {"huge", "huge-vdi", "qcow", "qcow-of-a-later-version", "vmdk-sibling"}
NOT_UNDERSTOOD = {"vmdk-parent", "vmdk-that-is-not-ascii", "vmdk-with-an-unknown-line"}


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

    def test_the_same_images_are_refused(self, cinder_copy: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(safety_cases())
        @example(sound("qcow2", has_data_file=None))
        @example(sound("vmdk", subformat="monolithicFlat"))
        @example(replace(sound("raw", virtual_size_bytes=10**400), size_gib=None))
        def the_answers_agree(case: SafetyCase) -> None:
            content = (*case.inspection.formats, "raw")[0]  # of several, what Cinder finds is no fact here
            case = replace(case, inspection=replace(case.inspection, formats=(content,)))
            if content == "qcow2" and case.inspection.has_data_file:  # which is in the same header
                case = replace(case, inspection=replace(case.inspection, failed_checks=frozenset({"data_file"})))
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
    """Cinder's own inspector and qemu-img look at real files."""

    @pytest.mark.parametrize("name", sorted(set(REAL) - READ_AS_RAW - REFUSED_BY_QEMU_IMG - NOT_UNDERSTOOD))
    def test_the_answers_agree(self, name: str, cinder_copy: Worker, tmp_path: Path) -> None:
        for case, theirs in answers(name, cinder_copy, tmp_path):
            compared(case, theirs)

    @pytest.mark.parametrize("name", sorted(READ_AS_RAW))
    def test_cinder_reads_as_raw_what_upstream_does_not(self, name: str, cinder_copy: Worker, tmp_path: Path) -> None:
        for case, theirs in answers(name, cinder_copy, tmp_path):
            accepted = case.declared_format in ("raw", "ami")
            error = (None, None) if accepted else ("ImageUnacceptable", "check_image_format")
            assert (theirs["raises"], theirs["within"]) == error
            if case.declared_format == "raw":
                assert not case.decide(Policy.UPSTREAM).safe  # the difference: ours refuses more

    @pytest.mark.parametrize("name", sorted(REFUSED_BY_QEMU_IMG))
    def test_both_refuse_what_qemu_img_cannot_open(self, name: str, cinder_copy: Worker, tmp_path: Path) -> None:
        for case, theirs in answers(name, cinder_copy, tmp_path):
            assert (theirs["raises"], theirs["within"]) == ("ProcessExecutionError", "qemu_img_info")
            assert failed(case.decide(Policy.UPSTREAM).verdicts)[0].rule != "inspector-name"

    @pytest.mark.parametrize("name", sorted(NOT_UNDERSTOOD))
    def test_both_refuse_a_descriptor_that_cinder_cannot_read(
        self, name: str, cinder_copy: Worker, tmp_path: Path
    ) -> None:
        for case, theirs in answers(name, cinder_copy, tmp_path):
            assert (theirs["raises"], theirs["within"]) == ("ImageFormatError", "qemu_img_info")
            assert failed(case.decide(Policy.UPSTREAM).verdicts)[0].rule in ("inspector-safe", "no-backing-file")


def answers(name: str, cinder_copy: Worker, folder: Path) -> Iterator[tuple[SafetyCase, dict[str, Any]]]:
    """The file, declared as what it is, as raw and as `ami`, and what Cinder does with each."""
    needed()
    make, declared, _ = REAL[name]
    path = folder / "image"
    make(path)
    inspection = facts(path, declared)
    for says in sorted({declared, "raw", "ami"}):
        case = SafetyCase(inspection=inspection, declared_format=says, size_gib=1)
        yield case, cinder_copy.ask("check_file", path=str(path), declared=says, size_gib=1)


def facts(path: Path, declared: str) -> Inspection:
    """What is found in a file; of what is refused unasked, the size of what Cinder takes it for."""
    try:
        return QemuConverter().examine(str(path), declared_format=declared, size_gib=1, what="it")
    except UnsafeImage:
        found = inspect_file(path)
    return found if found.virtual_size_bytes is not None else replace(found, virtual_size_bytes=path.stat().st_size)


def host(inspection: Inspection, content: str) -> dict[str, Any]:
    """A host on which Cinder's inspector and qemu-img find what was found."""
    alone = content in ("luks", "gpt", "iso") or (content == "vmdk" and inspection.text_only is True)
    found = "raw" if alone else content
    linked = inspection.has_backing_file is True
    checks = (inspection.failed_checks or frozenset()) - {"mbr"}
    unsafe = found == "qed" or (found == "qcow2" and (linked or checks)) or (found == "vmdk" and checks)
    said: dict[str, Any] = {"format": found, "virtual-size": inspection.virtual_size_bytes}
    if linked:
        said["backing-filename"] = "/etc/passwd"
    if found == "vmdk" and inspection.subformat is not None:
        said["format-specific"] = {"data": {"create-type": inspection.subformat}}
    if found == "qcow2" and inspection.has_data_file is not None:
        said["format-specific"] = {"data": {}}
    info = {found: said} | ({"luks": said | {"format": "luks"}} if content == "luks" else {})
    return {
        "conversion": True,
        "qemu_img": True,
        "prefix": [],
        "block_device": False,
        "temporary": PATH,
        "contents": {PATH: {"inspector": None if unsafe else found, "info": info}},
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
    errors, within = ERRORS[first.rule]
    assert theirs["raises"] in errors, (theirs, first)
    assert within in ("", theirs["within"])
    if "Cinder fails" in first.text:
        assert f" {theirs['raises']}" in first.text
    return first.rule
