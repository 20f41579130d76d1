"""Which untrusted images are refused: by each rule, and whatever the inspection could not tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.copy_strategies import SafetyCase, safety_cases
from imagevol_core import (
    GIB,
    CinderInspection,
    Inspection,
    InvalidSize,
    PartitionEntry,
    Policy,
    SafetySettings,
    failed,
    rule_tables,
)
from tests.core.cases import BOTH_POLICIES

GOOD = SafetyCase(
    inspection=Inspection(
        formats=("qcow2",),
        header_parses=True,
        virtual_size_bytes=GIB,
        has_backing_file=False,
        has_data_file=False,
        failed_checks=frozenset(),
        missing_bytes=0,
    ),
    declared_format="qcow2",
    size_gib=1,
)


def found(case: SafetyCase = GOOD, **changes: Any) -> SafetyCase:
    """The case with something else found in the image."""
    return replace(case, inspection=replace(case.inspection, **changes))


def content(name: str, declared: str | None = None, **changes: Any) -> SafetyCase:
    """An image of this content, declared so or as something else."""
    return replace(found(formats=(name,), **changes), declared_format=declared or name)


def by_cinder(name: str, case: SafetyCase = GOOD, **found_too: Any) -> SafetyCase:
    """The case, in which Cinder's own inspector finds this, safe unless it says otherwise."""
    return found(case, cinder=CinderInspection(format=name, **{"safe": True, **found_too}))


NONFATAL = SafetySettings(nonfatal_checks=frozenset({"mbr"}))
UNUSED = PartitionEntry(boot=0, kind=0, start=(0, 0, 0), start_lba=0)
PROTECTIVE = PartitionEntry(boot=0, kind=0xEE, start=(0, 0, 2), start_lba=1)
LINUX = PartitionEntry(boot=0x80, kind=0x83, start=(0, 32, 33), start_lba=2048)
VMDK = content("vmdk", subformat="streamOptimized", text_only=False)

# For each rule, an image that it alone refuses.  A new rule is a new row here.
BREAKS = {
    Policy.STRICT: {
        "header-parses": found(header_parses=False),
        "one-format": replace(found(formats=("qcow2", "gpt")), declared_format="raw"),
        "content-as-declared": replace(GOOD, declared_format="raw"),
        "luks-not-raw": content("luks", "raw"),
        "not-probed": content("raw", probed_as="parallels"),
        "no-backing-file": found(has_backing_file=True),
        "no-data-file": found(has_data_file=True),
        "vmdk-subformat": found(VMDK, subformat="monolithicFlat"),
        "partition-table-sound": content("gpt", "raw", failed_checks=frozenset({"mbr"})),
        "format-version": found(version=1, failed_checks=frozenset({"unknown_features"})),
        "features-known": found(
            version=3, features=frozenset({"extended_l2"}), failed_checks=frozenset({"unknown_features"})
        ),
        "checks-passed": found(failed_checks=frozenset({"unknown_features"})),
        "not-packed": content("raw", packed_as="gzip"),
        "has-data": found(virtual_size_bytes=0),
        "virtual-size-fits": found(virtual_size_bytes=GIB + 1),
        "not-truncated": found(missing_bytes=1),
        "tables-sound": found(corruptions=1),
    },
    Policy.UPSTREAM: {
        "inspector-safe": found(has_backing_file=True),
        "inspector-name": content("vhd"),
        "virtual-size-fits": found(virtual_size_bytes=GIB + 1),
        "no-backing-file": found(VMDK, has_backing_file=True),
        "content-as-declared": replace(GOOD, declared_format="raw"),
        "vmdk-subformat": found(VMDK, subformat="monolithicFlat"),
        "no-data-file": found(has_data_file=None),
    },
}


def said(case: SafetyCase, rule: str, policy: Policy = Policy.STRICT) -> tuple[bool, str]:
    """Whether this rule passed, and why."""
    (verdict,) = (verdict for verdict in case.decide(policy).verdicts if verdict.rule == rule)
    return verdict.ok, verdict.text


class TestEveryRule:
    """Each rule refuses something that no other does."""

    def test_each_rule_of_safety_has_its_example(self) -> None:
        tables = [table for table in rule_tables() if table.name.startswith("Safety")]
        assert {table.policy: [rule.id for rule in table.rules] for table in tables} == {
            policy: list(cases) for policy, cases in BREAKS.items()
        }

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    @pytest.mark.parametrize(
        "case",
        [
            *(GOOD, VMDK, content("raw"), content("gpt", "raw"), content("vdi"), content("vhdx")),
            found(VMDK, subformat="monolithicSparse"),
        ],
    )
    def test_an_image_as_it_should_be_is_safe(self, policy: Policy, case: SafetyCase) -> None:
        decision = case.decide(policy)
        assert (decision.safe, decision.policy) == (True, policy)
        assert [verdict.rule for verdict in decision.verdicts] == list(BREAKS[policy])

    @pytest.mark.parametrize("version, safe", [(0, False), (1, False), (2, True), (3, True), (4, False), (7, False)])
    def test_a_version_that_is_not_known_is_refused(self, version: int, safe: bool) -> None:
        assert found(version=version).decide().safe is safe

    @pytest.mark.parametrize(
        "policy, rule, case", [(policy, rule, case) for policy, cases in BREAKS.items() for rule, case in cases.items()]
    )
    def test_each_rule_of_safety_refuses_its_example_alone(self, policy: Policy, rule: str, case: SafetyCase) -> None:
        decision = case.decide(policy)
        assert [verdict.rule for verdict in failed(decision.verdicts)] == [rule]
        assert decision.safe is False
        assert decision.policy is policy


class TestUnknown:
    """What the inspection could not tell is never taken for safe."""

    @given(safety_cases(), st.sampled_from(["header_parses", "virtual_size_bytes", "failed_checks"]))
    def test_an_image_is_refused_if_a_fact_about_it_is_not_known(self, case: SafetyCase, fact: str) -> None:
        assert not found(case, **{fact: None}).decide().safe

    @given(safety_cases())
    def test_nothing_is_safe_without_an_inspection_or_a_declaration(self, case: SafetyCase) -> None:
        assert not found(case, formats=()).decide().safe
        assert not replace(case, declared_format=None).decide().safe

    @given(safety_cases(), st.sampled_from(["has_backing_file", "has_data_file", "subformat"]))
    def test_a_missing_fact_never_makes_an_image_safer(self, case: SafetyCase, fact: str) -> None:
        good = {"has_backing_file": False, "has_data_file": False, "subformat": "streamOptimized"}[fact]
        if found(case, **{fact: None}).decide().safe:
            assert found(case, **{fact: good}).decide().safe

    @given(safety_cases(), st.sampled_from(["qcow2", "vmdk", "luks", "iso", "qed", "vhd"]))
    def test_another_format_in_it_never_makes_it_safe(self, case: SafetyCase, more: str) -> None:
        if not case.decide().safe:
            again = found(case, formats=(*case.inspection.formats, more))
            assert not again.decide().safe or not case.inspection.formats or "iso" in again.inspection.formats

    @pytest.mark.parametrize("fact", ["has_backing_file", "has_data_file"])
    @pytest.mark.parametrize(
        "name, safe",
        [
            *(("qcow2", (False, False)), ("vmdk", (False, True)), ("vhd", (False, True))),
            *(("vhdx", (True, True)), ("vdi", (True, True)), ("raw", (True, True))),
        ],
    )
    def test_a_format_that_cannot_have_a_feature_needs_no_answer_about_it(
        self, name: str, safe: tuple[bool, bool], fact: str
    ) -> None:
        case = content(name, subformat="streamOptimized", **{fact: None})
        assert case.decide().safe is safe[fact == "has_data_file"]
        assert not found(case, **{fact: True}).decide().safe


class TestContent:
    """Refused: content that is not what was declared, more than one format in one file, LUKS declared raw."""

    @pytest.mark.parametrize(
        "formats, declared, refused",
        [
            (("raw",), "raw", []),
            (("gpt",), "raw", []),
            (("gpt",), "ami", []),
            (("raw",), "ari", []),
            (("raw",), "aki", []),
            (("qcow2",), "raw", ["content-as-declared"]),
            (("iso",), "raw", ["content-as-declared"]),
            (("iso",), "iso", []),
            (("gpt", "iso"), "iso", []),  # bootable from a USB stick
            (("gpt",), "iso", ["content-as-declared"]),
            (("gpt", "iso"), "raw", ["one-format"]),
            (("raw",), "qcow2", ["content-as-declared"]),
            (("raw",), "ploop", ["content-as-declared"]),  # no inspector knows it
            (("raw",), "RAW", ["content-as-declared"]),
            (("qcow2",), "ami", ["content-as-declared"]),
            (("vpc",), "vhd", []),
            (("vhd",), "vpc", []),
            (("vhd", "vpc"), "vhd", []),  # two names of one
            (("qcow2", "qcow2"), "qcow2", []),
            (("luks",), "luks", []),
            (("luks",), "raw", ["luks-not-raw"]),
            (("luks",), "qcow2", ["content-as-declared"]),
            (("luks", "gpt"), "raw", ["one-format", "luks-not-raw"]),
            (("qcow2", "vdi"), "qcow2", ["one-format"]),
            ((), "raw", ["one-format", "content-as-declared"]),
            (("raw",), None, ["content-as-declared"]),
        ],
    )
    def test_the_content_must_be_what_is_declared(
        self, formats: tuple[str, ...], declared: str | None, refused: list[str]
    ) -> None:
        case = replace(found(formats=formats), declared_format=declared)
        assert [verdict.rule for verdict in failed(case.decide().verdicts)] == refused

    @given(safety_cases(), st.randoms())
    def test_the_order_of_the_formats_does_not_matter(self, case: SafetyCase, random: Any) -> None:
        formats = list(case.inspection.formats)
        random.shuffle(formats)
        for policy in BOTH_POLICIES:
            assert found(case, formats=tuple(formats)).decide(policy) == case.decide(policy)

    @pytest.mark.parametrize(
        "subformat, safe",
        [
            *(("streamOptimized", True), ("monolithicSparse", True), ("streamoptimized", True)),
            *(("monolithicFlat", False), ("twoGbMaxExtentSparse", False), ("", False), (None, False)),
        ],
    )
    def test_a_vmdk_is_refused_by_its_subformat(self, subformat: str | None, safe: bool) -> None:
        assert found(VMDK, subformat=subformat).decide().safe is safe


class TestVirtualSize:
    """Refused: a virtual size that does not fit."""

    @pytest.mark.parametrize(
        "size, size_gib, strict, upstream",
        [
            *((GIB, 1, True, True), (GIB + 1, 1, False, False), (0, 0, False, True), (1, 0, False, False)),
            *((None, 1, False, False), (None, None, False, True), (10**400, None, True, True)),
            *(((1 << 53) + 1, 1 << 23, False, True), (10**400, 1, False, False)),
        ],
    )
    def test_an_image_is_refused_if_its_virtual_size_does_not_fit(
        self, size: int | None, size_gib: int | None, strict: bool, upstream: bool
    ) -> None:
        case = replace(found(virtual_size_bytes=size), size_gib=size_gib)
        assert case.decide().safe is strict
        assert case.decide(Policy.UPSTREAM).safe is upstream

    @pytest.mark.parametrize("name", ["virtual_size_bytes", "missing_bytes", "corruptions"])
    def test_a_negative_size_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidSize, match=rf"Inspection\.{name} is -1: give 0 or more, or None"):
            found(GOOD, **{name: -1})

    def test_a_negative_size_that_cinder_sees_is_refused(self) -> None:
        with pytest.raises(InvalidSize, match=r"CinderInspection\.virtual_size_bytes is -1: give 0 or more, or None"):
            CinderInspection(format="raw", safe=True, virtual_size_bytes=-1)
        assert CinderInspection(format="raw", safe=True, virtual_size_bytes=0).virtual_size_bytes == 0


class TestPartitionTable:
    """A table that is not sound is refused, unless the operator allows it in Glance's words."""

    @pytest.mark.parametrize(
        "failed_checks, nonfatal, declared, safe",
        [
            (["mbr"], [], "raw", False),
            (["mbr"], ["mbr"], "raw", True),
            (["mbr"], ["gptmbr"], "raw", False),
            (["mbr", "gptmbr"], ["mbr"], "raw", False),
            (["mbr", "gptmbr"], ["mbr", "gptmbr"], "raw", True),
            (["gptmbr"], ["gptmbr", "anything"], "raw", True),
            (["mbr"], [], "ami", False),
            (["mbr"], [], "aki", True),  # a kernel may begin as an MBR does
            (["mbr"], [], "ari", True),
            (["gptmbr"], [], "aki", False),
            (["mbr", "banned"], ["mbr", "banned"], "raw", False),  # it allows nothing else
        ],
    )
    def test_a_faulty_partition_table_is_refused_unless_the_fault_is_allowed(
        self, failed_checks: list[str], nonfatal: list[str], declared: str, safe: bool
    ) -> None:
        case = content("gpt", declared, failed_checks=frozenset(failed_checks))
        settings = SafetySettings(nonfatal_checks=frozenset(nonfatal))
        assert replace(case, settings=settings).decide().safe is safe


class TestFeatures:
    """A qcow2 is read where the installed qemu-img reads what its header asks for."""

    @pytest.mark.parametrize(
        "features, installed, safe",
        [
            (["dirty", "corrupt", "compression_type"], [], True),
            (["extended_l2"], [], False),
            (["extended_l2"], ["extended_l2"], True),
            (["extended_l2", "bit 5"], ["extended_l2"], False),
        ],
    )
    def test_a_qcow2_is_refused_if_the_installed_qemu_img_does_not_know_its_features(
        self, features: list[str], installed: list[str], safe: bool
    ) -> None:
        failed_checks = frozenset({"unknown_features"} - ({"unknown_features"} if len(features) == 3 else set()))
        case = found(version=3, features=frozenset(features), failed_checks=failed_checks)
        settings = SafetySettings(qemu_features=frozenset(installed))
        assert replace(case, settings=settings).decide().safe is safe
        assert not replace(found(case, failed_checks=failed_checks | {"banned"}), settings=settings).decide().safe


class TestDeclaration:
    """Of an image that only needs another `disk_format`, the decision says which."""

    @pytest.mark.parametrize(
        "case, declare_as",
        [
            (GOOD, None),
            (content("iso", "raw"), "iso"),
            (replace(found(formats=("iso", "gpt")), declared_format="raw"), "iso"),
            (content("vhd", "raw"), "vhd"),
            (content("gpt", "qcow2"), "raw"),
            (content("raw", "ploop"), "raw"),
            (content("luks", "raw"), "luks"),
            (content("qcow2", "raw", has_backing_file=True), None),
            (content("qed", "raw"), None),
            (found(formats=("qcow2", "gpt")), None),
            (found(missing_bytes=1), None),
            (replace(GOOD, declared_format=None), "qcow2"),
        ],
    )
    def test_the_right_declaration_follows_from_what_is_found(self, case: SafetyCase, declare_as: str | None) -> None:
        assert case.decide().declare_as == declare_as

    @given(safety_cases(), st.sampled_from(BOTH_POLICIES))
    def test_an_image_with_the_right_declaration_is_safe(self, case: SafetyCase, policy: Policy) -> None:
        decision = case.decide(policy)
        if decision.declare_as is not None:
            assert not decision.safe
            assert replace(case, declared_format=decision.declare_as).decide(policy).safe


class TestTruncated:
    """Refused: an image whose own tables name more data than its file has."""

    @pytest.mark.parametrize(
        "name, declared", [*((name, name) for name in ("qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso")), ("vhd", "vpc")]
    )
    def test_what_is_not_known_to_be_whole_is_refused(self, name: str, declared: str) -> None:
        case = content(name, declared, subformat="streamOptimized")
        assert case.decide().safe
        for missing in (None, 1, 10**30):
            assert not found(case, missing_bytes=missing).decide().safe

    @pytest.mark.parametrize(
        "changes", [{"header_parses": False}, {"formats": ("qcow2", "gpt")}, {"version": 1}, {"header_parses": None}]
    )
    def test_tables_that_another_rule_refuses_to_read_are_not_missed(self, changes: dict[str, Any]) -> None:
        assert said(found(missing_bytes=None, **changes), "not-truncated") == (
            True,
            "its tables are not read, because it is no sound image of one format",
        )
        assert not found(missing_bytes=None, **changes).decide().safe

    @pytest.mark.parametrize("name", ["raw", "gpt"])
    def test_a_raw_disk_is_as_long_as_its_file(self, name: str) -> None:
        assert content(name, "raw", missing_bytes=None).decide().safe


class TestPacked:
    """What is packed has one fault, and it is not that of its declared format."""

    @pytest.mark.parametrize("declared", ["raw", "qcow2", "vmdk", "iso", None])
    def test_a_packed_image_is_refused_for_one_reason(self, declared: str | None) -> None:
        case = replace(content("raw", "raw", packed_as="gzip"), declared_format=declared)
        assert [verdict.rule for verdict in failed(case.decide().verdicts)] == ["not-packed"]

    @pytest.mark.parametrize("declared", ["ari", "aki"])
    def test_a_kernel_or_ramdisk_must_be_what_is_declared(self, declared: str) -> None:
        assert not content("qcow2", declared, packed_as="gzip").decide().safe


class TestSentences:
    """What decided is in the sentence."""

    @pytest.mark.parametrize(
        "case, rule, text",
        [
            (found(header_parses=None), "header-parses", "it is not known whether its header can be parsed"),
            (found(header_parses=False), "header-parses", "its header cannot be parsed"),
            (found(formats=()), "one-format", "its content is not known"),
            (found(formats=("vdi", "gpt")), "one-format", "its content is 'gpt', 'vdi'"),
            (GOOD, "content-as-declared", "it is declared 'qcow2' and its content is 'qcow2'"),
            (
                replace(GOOD, declared_format=None),
                "content-as-declared",
                "it is declared not known and its content is 'qcow2'",
            ),
            (content("luks", "raw"), "luks-not-raw", "it is declared 'raw' and its content is 'luks'"),
            (found(has_backing_file=True), "no-backing-file", "it has a backing file"),
            (GOOD, "no-backing-file", "it does not have a backing file"),
            (found(has_data_file=None), "no-data-file", "it is not known whether it has an external data file"),
            (GOOD, "vmdk-subformat", "it is not a VMDK"),
            (VMDK, "vmdk-subformat", "its createType is 'streamOptimized'"),
            (GOOD, "partition-table-sound", "its partition table is sound, or it has none"),
            (
                found(failed_checks=frozenset({"mbr"})),
                "partition-table-sound",
                (
                    "its partition table is not sound: the check 'mbr' failed; repair it, or allow it with "
                    "gpt_safety_checks_nonfatal = mbr"
                ),
            ),
            (
                found(failed_checks=frozenset({"mbr"}), partitions=(PROTECTIVE, LINUX, UNUSED, UNUSED)),
                "partition-table-sound",
                (
                    "its partition table is not sound: entry 2 of type 0x83 stands beside the one of a GPT, type 0xee; "
                    "repair it, or allow it with gpt_safety_checks_nonfatal = mbr"
                ),
            ),
            (
                found(failed_checks=frozenset({"gptmbr", "mbr"}), partitions=(UNUSED, PROTECTIVE, LINUX, UNUSED)),
                "partition-table-sound",
                (
                    "its partition table is not sound: the entry of type 0xee is number 2, not 1; "
                    "entry 3 of type 0x83 stands beside the one of a GPT, type 0xee; "
                    "repair it, or allow it with gpt_safety_checks_nonfatal = gptmbr,mbr"
                ),
            ),
            (
                replace(found(failed_checks=frozenset({"mbr"})), settings=NONFATAL),
                "partition-table-sound",
                "its partition table is not sound: the check 'mbr' failed; that is allowed",
            ),
            (GOOD, "format-version", "it is no qcow, or its version is not known"),
            (found(version=3), "format-version", "its version is 3"),
            (
                found(version=1),
                "format-version",
                "it is a qcow of version 1, the format before qcow2: convert it with `qemu-img convert -f qcow`",
            ),
            (found(version=7), "format-version", "it is a qcow2 of version 7, and 2 and 3 are known"),
            (GOOD, "features-known", "of the features that its readers must know, it has none"),
            (
                found(features=frozenset({"dirty", "extended_l2", "bit 9"})),
                "features-known",
                "it has features that the installed qemu-img is not known to read: 'bit 9', 'extended_l2'",
            ),
            (GOOD, "not-probed", "qemu-img would take it for nothing else"),
            (found(probed_as="qcow2"), "not-probed", "qemu-img would take it for nothing else"),
            (
                content("raw", probed_as="bochs"),
                "not-probed",
                "a program that guesses the format, as qemu-img does if it is not told, takes it for bochs",
            ),
            (GOOD, "not-packed", "it is not compressed, and no archive"),
            (content("raw", "ari", packed_as="gzip"), "not-packed", "a kernel or ramdisk may be packed"),
            (
                content("raw", packed_as="zstd"),
                "not-packed",
                "it is not a disk but zstd data: unpack it first, as with `unzstd`",
            ),
            (
                content("raw", packed_as="rar"),
                "not-packed",
                "it is not a disk but rar data: unpack it first, as with `rar`",
            ),
            (GOOD, "has-data", "it is not empty"),
            (found(virtual_size_bytes=0), "has-data", "it is empty"),
            (found(failed_checks=None), "checks-passed", "the inspector's checks were not made"),
            (GOOD, "checks-passed", "of the inspector's other checks, none failed"),
            (
                found(failed_checks=frozenset({"b", "a", "mbr"})),
                "checks-passed",
                "of the inspector's other checks, 'a', 'b' failed",
            ),
            (found(virtual_size_bytes=None), "virtual-size-fits", "its virtual size is not known"),
            (GOOD, "virtual-size-fits", f"its virtual size is {GIB} bytes and the volume has 1 GiB"),
            (
                replace(GOOD, size_gib=None),
                "virtual-size-fits",
                f"its virtual size is {GIB} bytes, and it is for no volume in particular",
            ),
            (GOOD, "not-truncated", "all data that its tables name is in the file"),
            (content("raw"), "not-truncated", "it is not read by tables of its own"),
            (
                found(missing_bytes=None),
                "not-truncated",
                "it is not known whether all data that its tables name is in the file",
            ),
            (
                found(missing_bytes=7),
                "not-truncated",
                "the file was cut short: its tables name data up to 7 bytes after its end; copy it again",
            ),
            (GOOD, "tables-sound", "qemu-img check was not asked"),
            (found(corruptions=0), "tables-sound", "qemu-img check finds 0 errors"),
            (
                found(corruptions=2),
                "tables-sound",
                "qemu-img check finds 2 errors; copy the image again, or repair it",
            ),
        ],
    )
    def test_each_strict_rule_of_safety_says_what_decided(self, case: SafetyCase, rule: str, text: str) -> None:
        assert said(case, rule)[1] == text

    @pytest.mark.parametrize(
        "case, rule, text",
        [
            (GOOD, "inspector-safe", "Cinder's inspector finds 'qcow2', safe"),
            (content("qed"), "inspector-safe", "Cinder's inspector finds 'qed', unsafe"),
            (by_cinder("vmdk", safe=False), "inspector-safe", "Cinder's inspector finds 'vmdk', unsafe"),
            (
                by_cinder("vmdk", safe=None),
                "inspector-safe",
                "Cinder fails with an ImageFormatError: its inspector cannot read the descriptor of the VMDK",
            ),
            (
                by_cinder("qcow2", opens=False),
                "inspector-name",
                "Cinder fails with a ProcessExecutionError: qemu-img cannot open it as 'qcow2'",
            ),
            (
                by_cinder("raw", virtual_size_bytes=3 * GIB),
                "virtual-size-fits",
                "Cinder counts 3 GiB for the image and the volume has 1 GiB",
            ),
            (GOOD, "inspector-name", "qemu-img knows it"),
            (
                content("vhd"),
                "inspector-name",
                "Cinder fails with a ProcessExecutionError: qemu-img has no `vhd`",
            ),
            (replace(GOOD, size_gib=None), "virtual-size-fits", "Cinder looks at no size where it is given none"),
            (
                found(virtual_size_bytes=None),
                "virtual-size-fits",
                "Cinder fails with a TypeError where there is no virtual size",
            ),
            (
                found(virtual_size_bytes=10**400),
                "virtual-size-fits",
                "Cinder fails with an OverflowError where the virtual size is too large for a float",
            ),
            (GOOD, "virtual-size-fits", "Cinder counts 1 GiB for the image and the volume has 1 GiB"),
            (GOOD, "no-backing-file", "it does not have a backing file"),
            (
                replace(GOOD, declared_format="iso"),
                "content-as-declared",
                "it is declared 'iso' and Cinder's inspector finds 'qcow2'",
            ),
            (VMDK, "vmdk-subformat", "its createType is 'streamOptimized'"),
            (GOOD, "no-data-file", "it does not have an external data file"),
            (
                by_cinder("qcow2", found(has_data_file=True), safe=True),
                *("no-data-file", "it has an external data file"),
            ),
            (found(has_data_file=None), "no-data-file", "it is not known whether it has an external data file"),
            (by_cinder("qcow2", found(has_backing_file=True), safe=True), "no-backing-file", "it has a backing file"),
        ],
    )
    def test_each_rule_of_cinder_on_safety_says_what_decided(self, case: SafetyCase, rule: str, text: str) -> None:
        assert said(case, rule, Policy.UPSTREAM)[1] == text

    @given(st.text(max_size=9), st.text(max_size=9), st.sampled_from(BOTH_POLICIES))
    def test_each_sentence_about_safety_is_one_printable_line(self, one: str, other: str, policy: Policy) -> None:
        case = found(formats=(one, "vmdk"), subformat=other, failed_checks=frozenset({one}))
        for verdict in replace(case, declared_format=other).decide(policy).verdicts:
            assert str(verdict).isprintable()


class TestUpstream:
    """What Cinder's own inspector makes of an image; the differential tests compare it with Cinder itself."""

    @pytest.mark.parametrize(
        "case, safe",
        [
            (content("luks", "raw"), True),  # and raw of any other content too
            (content("iso", "iso"), True),
            (content("raw", "ami"), True),
            (content("qcow2", "AMI"), True),
            (content("raw", "ploop"), False),
            (content("gpt", "raw", failed_checks=frozenset({"mbr"})), True),
            (found(VMDK, text_only=True, subformat="monolithicFlat"), False),  # declared vmdk, and found raw
            (replace(found(VMDK, text_only=True, subformat="monolithicFlat"), declared_format="raw"), True),
            # found raw, by a header that it has not, and as long as the file with its footer
            (content("vhd", "raw", subformat="fixed", virtual_size_bytes=GIB - 512), True),
            (content("vhd", "raw", subformat="fixed", virtual_size_bytes=GIB), False),
            (content("vhd", subformat="fixed"), False),
            (found(VMDK, failed_checks=frozenset({"descriptor"})), False),
            (found(failed_checks=frozenset({"unknown_features"})), False),
            (found(failed_checks=frozenset({"mbr"})), True),
            (content("vdi", failed_checks=frozenset({"banned"})), True),
            (found(VMDK, failed_checks=frozenset({"mbr"})), True),
            (found(VMDK, subformat="STREAMOPTIMIZED"), False),
            (replace(GOOD, declared_format=None), True),
            (found(failed_checks=None), True),
            (found(formats=("luks", "gpt", "qcow2")), True),
            # What Cinder itself finds counts, whatever oslo.utils finds.
            (by_cinder("raw", VMDK), False),  # declared vmdk
            (replace(by_cinder("raw", VMDK), declared_format="raw"), True),
            (replace(by_cinder("raw", found(VMDK, has_backing_file=True)), declared_format="raw"), True),
            (by_cinder("vmdk", found(VMDK, text_only=True)), True),
            (by_cinder("vmdk", found(VMDK, failed_checks=frozenset({"footer"}))), True),
            (by_cinder("qcow2", opens=True, virtual_size_bytes=GIB), True),
            (by_cinder("qcow2", virtual_size_bytes=GIB + 1), False),
            (by_cinder("qcow2", opens=False), False),
            (by_cinder("vmdk", VMDK, safe=True), True),
            (by_cinder("vmdk", VMDK, safe=None), False),
            (by_cinder("qcow2", found(virtual_size_bytes=None), virtual_size_bytes=GIB), True),
            (by_cinder("vhd", content("vhd", "raw", subformat="fixed")), False),
            (by_cinder("raw", content("vhd", "raw", subformat="fixed")), True),  # as long as it says, not longer
        ],
    )
    def test_cinder_accepts_and_refuses_an_image_by_what_it_finds_in_it(self, case: SafetyCase, safe: bool) -> None:
        assert case.decide(Policy.UPSTREAM).safe is safe
