"""`plan_copy` under UPSTREAM gives the commands that Cinder runs: `qemu-img convert`, `dd`, none, or an error instead.

Asked are `fetch_to_volume_format`, `upload_volume`, and `convert_image` as drivers call it with keys.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.copy_strategies import CopyCase, copy_cases
from imagevol_core import GIB, CopyMethod, CopyPlan, Policy
from tests.upstream.asking import Worker
from tests.upstream.examples import EXAMPLES, MORE

SOURCE, TARGET = "/conversion/source", "/dev/mapper/target"
IMAGES = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "ploop", "ami")
FETCHED = tuple(name for name in IMAGES if name != "ploop")  # which no image is found to be; see `check_image_safety`

# Which exception Cinder ends with where this rule stands in the way.
ERRORS = {
    "conversion-allowed": {"ImageConversionNotAllowed"},
    "format-inspected": {"ProcessExecutionError", "ImageUnacceptable"},
    "source-fits": {"ImageUnacceptable", "TypeError", "OverflowError"},
    "stays-encrypted": {"NotSupportedOperation"},
}


class TestCinder:
    """The same command, or the same error."""

    def test_an_image_is_converted_into_a_volume_by_the_command_that_cinder_runs(self, cinder_copy: Worker) -> None:
        kinds = Counter[str]()

        @MORE
        @given(copy_cases(), st.sampled_from(FETCHED), st.sampled_from(["raw", "raw", "qcow2", "vhd", "vpc", "vhdx"]))
        def the_answers_agree(case: CopyCase, declared: str, volume_format: str) -> None:
            case = plain(case, declared=declared, content=CONTENT[declared], target_format=volume_format)
            room = case.target.size_bytes or GIB
            case = replace(case, target=replace(case.target, size_bytes=room // GIB * GIB, compress=False))
            plan = case.decide(Policy.UPSTREAM)
            theirs = cinder_copy.ask(
                "fetch",
                facts=host(case),
                image={"id": "i", "disk_format": declared, "size": case.source.size_bytes, "container_format": "bare"},
                target=TARGET,
                volume_format=volume_format,
                size_gib=room // GIB,
                volume_subformat=case.target.subformat,
                disable_sparse=case.target.allocate,
                blocksize=case.settings.dd_blocksize,
            )
            kinds[compared(plan, theirs)] += 1

        the_answers_agree()
        assert {"qemu-img", "dd", *ERRORS} - {"stays-encrypted"} <= set(kinds)

    def test_a_volume_is_converted_into_an_image_by_the_command_that_cinder_runs(self, cinder_copy: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(
            copy_cases(),
            st.sampled_from(["raw", "raw", "qcow2", "vmdk", "vhd", "vhdx", "parallels"]),
            st.sampled_from(["raw", *IMAGES]),
        )
        def the_answers_agree(case: CopyCase, volume_format: str, disk_format: str) -> None:
            case = plain(case, declared=None, content=volume_format, target_format=disk_format)
            target = replace(case.target, size_bytes=None, allocate=False, subformat=None)
            case = replace(case, source=replace(case.source, virtual_size_bytes=GIB), target=target)  # as a device has
            plan = case.decide(Policy.UPSTREAM)
            theirs = cinder_copy.ask(
                "upload",
                facts=host(case) | {"temporary": TARGET},
                image={"id": "i", "disk_format": disk_format, "container_format": "bare"},
                source=SOURCE,
                volume_format=volume_format,
                compress=case.target.compress,
            )
            kinds[compared(plan, theirs)] += 1

        the_answers_agree()
        assert {"qemu-img", "none", "conversion-allowed", "qemu-img-present", "format-inspected"} == set(kinds)

    def test_cinder_copies_with_keys_as_the_upstream_policy_says(self, cinder_copy: Worker) -> None:
        kinds = Counter[str]()

        @EXAMPLES
        @given(
            copy_cases(),
            st.sampled_from(["raw", "qcow2", "luks"]),
            st.sampled_from(["luks", "luks", "raw", "qcow2", "vhd"]),
            st.booleans(),
            st.sampled_from([("/keys/old", None), ("/keys/old", "/keys/new"), (None, "/keys/new")]),
        )
        def the_answers_agree(
            case: CopyCase, content: str, target_format: str, ami: bool, keys: tuple[str | None, str | None]
        ) -> None:
            declared = "ami" if ami else content
            case = plain(case, declared=declared, content=content, target_format=target_format)
            case = replace(
                case,
                source=replace(case.source, key_file=keys[0]),
                target=replace(case.target, key_file=keys[1], compress=False),
            )
            cipher = case.target.cipher
            theirs = cinder_copy.ask(
                "convert",
                facts=host(case) | {"info": {"format": content, **DETAILS.get(content, {})}},
                source=SOURCE,
                target=TARGET,
                declared=declared,
                out_format=target_format,
                out_subformat=case.target.subformat,
                cipher_spec=cipher
                and {"cipher_alg": cipher.algorithm, "cipher_mode": cipher.mode, "ivgen_alg": cipher.ivgen},
                passphrase_file=keys[1],
                src_passphrase_file=keys[0],
                disable_sparse=case.target.allocate,
            )
            kinds[compared(case.decide(Policy.UPSTREAM), theirs)] += 1

        the_answers_agree()
        assert set(kinds) == {"qemu-img", "stays-encrypted"}


# What Cinder's inspector finds in an image that is what it is declared to be; qemu-img has names of its own.
CONTENT = {name: name for name in IMAGES} | {"iso": "raw", "ploop": "parallels", "ami": "qcow2"}
INSPECTED = {"iso": "raw", "parallels": "raw", "ploop": "raw", "ami": "raw", "vpc": "vhd", "luks": "raw"}
QEMU = {"vhd": "vpc", "iso": "raw", "ploop": "parallels"}
DETAILS: dict[str, dict[str, Any]] = {
    "qcow2": {"format-specific": {"data": {"compat": "1.1"}}},
    "vmdk": {"format-specific": {"data": {"create-type": "streamOptimized"}}},
}


def plain(case: CopyCase, *, declared: str | None, content: str, target_format: str) -> CopyCase:
    """The case with these formats, and no keys."""
    source = replace(case.source, path=SOURCE, format=content, declared_format=declared, key_file=None)
    if content == "raw" or source.size_bytes is None:
        source = replace(source, size_bytes=source.size_bytes or 0)
    target = replace(case.target, path=TARGET, format=target_format, key_file=None)
    return replace(case, source=source, target=target)


def host(case: CopyCase) -> dict[str, Any]:
    """The facts of the worker's `Host`."""
    return {
        "conversion": case.settings.conversion,
        "qemu_img": case.settings.qemu_img,
        "prefix": case.settings.prefix,
        "block_device": case.target.block_device is True,
        "source_direct_io": case.source.direct_io is True,
        "target_direct_io": case.target.direct_io is True,
        "temporary": SOURCE,
        "contents": {
            SOURCE: looked_at(case.source.format or "", case.source.virtual_size_bytes),
            TARGET: looked_at(case.target.format, 0),
        },
    }


def looked_at(name: str, size: int | None) -> dict[str, Any]:
    """What the inspector and qemu-img find in a file of this format; by the name `raw` qemu-img finds raw in any."""
    formats = {"raw", QEMU.get(name, name)}
    return {
        "inspector": INSPECTED.get(name, name),
        "info": {each: {"format": each, "virtual-size": size, **DETAILS.get(each, {})} for each in formats},
    }


def compared(plan: CopyPlan, theirs: dict[str, Any]) -> str:
    """What happened, which is held to be what the plan says."""
    if not plan.refused:
        assert theirs == {"ran": [list(plan.argv)] if plan.argv else [], "raises": None, "within": None}
        assert plan.method is (CopyMethod.CONVERT if "convert" in plan.argv else CopyMethod.STREAM)
        return "none" if not plan.argv else "dd" if "dd" in plan.argv else "qemu-img"
    first = plan.refused[0]
    errors = ERRORS.get(first.rule, {"ImageUnacceptable", "ProcessExecutionError"})
    assert theirs["raises"] in errors
    if "Cinder fails" in first.text:
        assert f" {theirs['raises']} " in first.text.replace(":", " ")
    return first.rule
