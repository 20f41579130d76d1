"""`check_image_safety` under UPSTREAM refuses what Cinder refuses on the way to a volume, for the same reason.

Asked is `fetch_to_volume_format`, up to the command that it would run: of facts, and of real files, at which Cinder's
own inspector and qemu-img look.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

from imagevol_adapters.inspection import inspect_file
from imagevol_adapters.qemu import QemuConverter
from imagevol_adapters.testing.copy_strategies import SafetyCase, safety_cases
from imagevol_core import GIB, Inspection, Policy, UnsafeImage, failed
from tests.adapters.inspecting import FILES, needed
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


@pytest.mark.parametrize("name", FILES)
def test_cinder_looks_at_a_real_file_itself(name: str, cinder_copy: Worker, tmp_path: Path) -> None:
    needed()
    make, declared, _ = FILES[name]
    path = tmp_path / "image"
    make(path)
    inspection = facts(path, declared)
    for says in {declared, "raw", "ami"}:
        case = SafetyCase(inspection=inspection, declared_format=says, size_gib=1)
        compared(case, cinder_copy.ask("check_file", path=str(path), declared=says, size_gib=1))


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
