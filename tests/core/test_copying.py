"""How bytes are copied: the laws of each plan, and what each rule lets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagevol_adapters.testing.copy_strategies import CopyCase, copy_cases
from imagevol_core import (
    GIB,
    Cleared,
    CopyMethod,
    CopyPlan,
    CopySettings,
    CopySource,
    CopyTarget,
    DriverGuarantee,
    FreshThin,
    InvalidFact,
    InvalidSize,
    LuksCipher,
    Policy,
    Result,
    ZeroHandling,
    decide_zeros,
    failed,
    rule_tables,
)
from imagevol_core.copying import QEMU_NAMES, can_be_read_in_ranges
from tests.core.cases import BOTH_POLICIES

DEVICE, IMAGE = "/dev/vdb", "/images/one"
SKIP, PUNCH, WRITE = ZeroHandling.SKIP, ZeroHandling.PUNCH, ZeroHandling.WRITE
STREAM, BLOCKS, CONVERT = CopyMethod
AES = LuksCipher(algorithm="aes-256", mode="xts", ivgen="plain64")

GOOD = CopyCase(
    source=CopySource(
        path=IMAGE, format="qcow2", declared_format="qcow2", size_bytes=5 * 512, virtual_size_bytes=GIB - 512
    ),
    target=CopyTarget(path=DEVICE, size_bytes=GIB, block_device=True, direct_io=True, has_backing_file=False),
)


def source(case: CopyCase = GOOD, **changes: Any) -> CopyCase:
    """The case with another source."""
    return replace(case, source=replace(case.source, **changes))


def target(case: CopyCase = GOOD, **changes: Any) -> CopyCase:
    """The case with another target."""
    return replace(case, target=replace(case.target, **changes))


def settings(case: CopyCase = GOOD, **changes: Any) -> CopyCase:
    """The case under another operator."""
    return replace(case, settings=replace(case.settings, **changes))


def upload(case: CopyCase = GOOD, **changes: Any) -> CopyCase:
    """A device on its way into a file yet to be made."""
    changes = {"path": "/images/new", "format": "qcow2", "size_bytes": None, "block_device": False} | changes
    raw = source(case, path=DEVICE, format="raw", declared_format=None, size_bytes=GIB, virtual_size_bytes=GIB)
    return target(raw, direct_io=False, **changes)


RAW = source(format="raw", declared_format="raw", size_bytes=GIB - 1, virtual_size_bytes=GIB)
TO_LUKS = target(upload(), format="luks", key_file="/run/new", cipher=AES)
LUKS = source(TO_LUKS, format="luks", key_file="/run/old")

# For each rule, a case of which it alone stands in the way.  A new rule is a new row here.
BREAKS = {
    ("Copying: what stands in the way", Policy.STRICT): {
        "paths-absolute": source(path="json:{}"),
        "not-itself": source(path=DEVICE),
        "format-inspected": source(format=None),
        "format-written": target(format="qed"),
        "source-fits": source(virtual_size_bytes=GIB + 512),
        "whole-sectors": source(virtual_size_bytes=GIB - 1),
        "device-exists": upload(path="/dev/gone"),
        "conversion-allowed": settings(conversion=False),
        "qemu-img-present": settings(qemu_img=False),
        "keys-given": source(key_file="/run/key"),
        "stays-encrypted": source(format="luks", key_file="/run/key"),
        "luks-is-made": target(RAW, format="luks", key_file="/run/key"),
    },
    ("Copying: what stands in the way", Policy.UPSTREAM): {
        "conversion-allowed": settings(conversion=False),
        "qemu-img-present": settings(qemu_img=False),
        "format-inspected": source(format="vhd", declared_format="vhd"),
        "source-fits": source(virtual_size_bytes=GIB + 1),
        "stays-encrypted": source(key_file="/run/key"),
    },
}
WARNS = {"compressible": target(compress=True)}

# For each rule of which the first that applies decides, a case of which it decides, and what.
DECIDES: dict[tuple[str, Policy], dict[str, tuple[CopyCase, object]]] = {
    ("Copying: the method (the first that applies)", Policy.STRICT): {
        "same-bytes": (RAW, STREAM),
        "block-map-read": (source(block_map=True), BLOCKS),
        "converted": (GOOD, CONVERT),
    },
    ("Copying: the method (the first that applies)", Policy.UPSTREAM): {
        "same-format": (upload(format="raw"), STREAM),
        "no-qemu-img": (settings(RAW, qemu_img=False), STREAM),
        "converted": (RAW, CONVERT),
    },
    ("Copying: the zeros (the first that applies)", Policy.STRICT): {
        "allocated-in-full": (target(allocate=True, zero=FreshThin(path=DEVICE)), WRITE),
        "encrypted": (TO_LUKS, WRITE),
        "proven-zero": (target(zero=FreshThin(path=DEVICE), can_punch=True), SKIP),
        "zeroed-in-place": (target(can_punch=True), PUNCH),
        "not-known-zero": (GOOD, WRITE),
    },
    ("Copying: the zeros (the first that applies)", Policy.UPSTREAM): {
        "bytes-as-they-come": (settings(RAW, qemu_img=False), WRITE),
        "allocated-in-full": (target(allocate=True), WRITE),
        "left-to-qemu-img": (target(zero=FreshThin(path=DEVICE)), PUNCH),
    },
}
TABLES = {(table.name, table.policy): table.rules for table in rule_tables() if table.name.startswith("Copying")}


class TestEveryRule:
    """Each rule stands alone in the way of something, or decides something."""

    def test_each_rule_of_copying_has_its_example(self) -> None:
        assert {key: {rule.id for rule in rules} for key, rules in TABLES.items()} == {
            key: cases.keys() | (WARNS.keys() if key == ("Copying: what stands in the way", Policy.STRICT) else set())
            for key, cases in (BREAKS | DECIDES).items()
        }

    @pytest.mark.parametrize("policy", BOTH_POLICIES)
    def test_no_rule_stands_in_the_way_of_a_good_copy(self, policy: Policy) -> None:
        assert GOOD.decide(policy).refused == ()

    @pytest.mark.parametrize(
        "policy, rule, case", [(key[1], rule, case) for key, cases in BREAKS.items() for rule, case in cases.items()]
    )
    def test_each_rule_of_copying_stands_alone_in_the_way_of_its_example(
        self, policy: Policy, rule: str, case: CopyCase
    ) -> None:
        plan = case.decide(policy)
        assert [verdict.rule for verdict in plan.refused] == [rule]
        assert plan == CopyPlan(policy=policy, refused=plan.refused, verdicts=plan.verdicts)

    @pytest.mark.parametrize("path", ["relative", "/images/one\0"])
    def test_a_path_is_absolute_and_has_no_zero_byte(self, path: str) -> None:
        assert [verdict.rule for verdict in source(path=path).decide().refused] == ["paths-absolute"]

    @pytest.mark.parametrize("case", [target(TO_LUKS, key_file=""), source(LUKS, key_file="")])
    def test_an_encryption_key_without_a_name_is_none(self, case: CopyCase) -> None:
        assert [verdict.rule for verdict in case.decide().refused] == ["paths-absolute"]

    @pytest.mark.parametrize("case", [target(TO_LUKS, key_file=None), source(LUKS, key_file=None)])
    def test_each_end_that_is_luks_needs_a_key(self, case: CopyCase) -> None:
        assert [verdict.rule for verdict in case.decide().refused] == ["keys-given"]

    @pytest.mark.parametrize("case", [GOOD, RAW, upload(), upload(compress=True), TO_LUKS, LUKS])
    def test_nothing_is_warned_of_if_all_is_in_order(self, case: CopyCase) -> None:
        ids = [rule.id for rule in TABLES["Copying: what stands in the way", Policy.STRICT]]
        verdicts = case.decide().verdicts[: len(ids)]
        assert [(verdict.rule, verdict.faults) for verdict in verdicts] == [(rule, False) for rule in ids]

    def test_a_warning_stands_in_the_way_of_nothing(self) -> None:
        plan = WARNS["compressible"].decide()
        assert [str(each) for each in plan.verdicts if each.result is Result.WARNS] == [
            "warns compressible: compression is wanted of 'raw'"
        ]
        assert plan.method is CONVERT
        assert "-c" not in plan.argv

    @pytest.mark.parametrize(
        "name, policy, rule, case, answer",
        [(*key, rule, *row) for key, cases in DECIDES.items() for rule, row in cases.items()],
    )
    def test_each_way_to_copy_is_decided_by_its_rule(
        self, name: str, policy: Policy, rule: str, case: CopyCase, answer: object
    ) -> None:
        plan = case.decide(policy)
        ids = {each.id for each in TABLES[name, policy]}
        assert [each.rule for each in plan.verdicts if each.applies and each.rule in ids][-1] == rule
        assert answer in (plan.method, plan.zeros)
        assert plan.policy is policy


IN_AES = "cipher-alg=aes-256,cipher-mode=xts,ivgen-alg=plain64"


def secret(name: str, path: str) -> str:
    """How a passphrase is given to qemu-img."""
    return f"--object secret,id={name},format=raw,file={path}"


OLD, NEW, IN_CINDER = secret("source", "/run/old"), secret("target", "/run/new"), secret("luks_sec", "/run/new")
BOTH = f"{secret('sec1', '/run/old')} {secret('sec2', '/run/new')}"
A_B = "driver=luks,key-secret=source,file.filename=/dev/a,,b"
OPTIONS = f"encrypt.format=luks,encrypt.key-secret=sec1,file.filename={DEVICE}"


def option(argv: tuple[str, ...], name: str) -> str | None:
    """The value of an option."""
    return argv[argv.index(name) + 1] if name in argv else None


class TestTargetIsZero:
    """--target-is-zero implies -n, a proof and no backing file; an unproven target never skips zeros."""

    @given(copy_cases())
    def test_target_is_zero_implies_the_other_options_of_zeros(self, case: CopyCase) -> None:
        plan = case.decide()
        if "--target-is-zero" in plan.argv:
            assert "-n" in plan.argv
            assert plan.zeros is SKIP
        if plan.zeros is SKIP:
            proof, size = case.target.zero, case.target.size_bytes
            assert proof is not None
            assert size is not None
            assert proof.path == case.target.path
            assert not isinstance(proof, Cleared) or proof.size_bytes >= size
            assert not case.target.has_backing_file
            assert (plan.method is CONVERT) is ("--target-is-zero" in plan.argv)

    @given(copy_cases())
    def test_without_a_proof_no_zeros_are_skipped(self, case: CopyCase) -> None:
        plan = target(case, zero=None).decide()
        assert plan.zeros in (None, PUNCH, WRITE)
        assert "--target-is-zero" not in plan.argv

    @given(copy_cases())
    def test_a_proof_changes_nothing_but_what_becomes_of_zeros(self, case: CopyCase) -> None:
        plan, unproven = case.decide(), target(case, zero=None).decide()
        assert (plan.method, plan.refused) == (unproven.method, unproven.refused)

    @pytest.mark.parametrize(
        "case, zeros",
        [
            (target(zero=DriverGuarantee(path=DEVICE, driver="rbd")), SKIP),
            (target(zero=Cleared(path=DEVICE, size_bytes=GIB)), SKIP),
            (target(zero=Cleared(path=DEVICE, size_bytes=GIB - 1)), WRITE),
            (target(zero=Cleared(path="/dev/vdc", size_bytes=GIB)), WRITE),
            (target(zero=FreshThin(path="/dev/vdc")), WRITE),
            (target(zero=FreshThin(path=DEVICE), has_backing_file=True), WRITE),
            (target(zero=FreshThin(path=DEVICE), has_backing_file=None), SKIP),  # raw has none
            (target(zero=FreshThin(path=DEVICE), has_backing_file=None, format="qcow2"), WRITE),
            (target(zero=FreshThin(path=DEVICE), has_backing_file=False, format="qcow2"), SKIP),
            (upload(zero=FreshThin(path="/images/new")), PUNCH),  # it is not there to be proven of
            (target(can_punch=False), WRITE),
            (target(can_punch=None), WRITE),
        ],
    )
    def test_a_proof_counts_only_for_its_own_target_and_size(self, case: CopyCase, zeros: ZeroHandling) -> None:
        assert case.decide().zeros is zeros

    @pytest.mark.parametrize("no_proof", [True, False, 1, "yes"])
    def test_the_word_yes_is_no_proof_that_a_target_reads_as_zeros(self, no_proof: Any) -> None:
        with pytest.raises(
            InvalidFact, match=r"CopyTarget\.zero: .* is no proof; give a FreshThin, a Cleared or a DriverGuarantee$"
        ):
            CopyTarget(path=DEVICE, zero=no_proof)


class TestStreams:
    """What becomes of the zeros of a stream, of which there is no source to copy."""

    @given(copy_cases())
    def test_a_stream_treats_zeros_as_the_copy_of_a_raw_file_does(self, case: CopyCase) -> None:
        raw = target(source(RAW, size_bytes=512), **{name: getattr(case.target, name) for name in _OF_ZEROS})
        plan, stream = raw.decide(), decide_zeros(raw.target)
        assert plan.zeros is stream.zeros
        assert plan.verdicts[-len(stream.verdicts) :] == stream.verdicts

    def test_zeros_of_a_stream_are_written_if_nothing_proves_that_the_target_has_them(self) -> None:
        bare = replace(GOOD.target, can_punch=None)
        assert decide_zeros(bare).zeros is WRITE
        assert decide_zeros(replace(bare, can_punch=True)).zeros is PUNCH
        assert decide_zeros(replace(bare, zero=FreshThin(path=DEVICE))).zeros is SKIP
        assert decide_zeros(replace(bare, zero=FreshThin(path="/dev/vdc"))).zeros is WRITE


_OF_ZEROS = ("zero", "can_punch", "allocate", "has_backing_file")


class TestClearing:
    """qemu-img clears nothing on a target that may hold old data, unless what it holds was read back."""

    @given(copy_cases())
    def test_the_command_writes_every_zero_or_the_whole_target_is_proven(self, case: CopyCase) -> None:
        plan = case.decide()
        if plan.method is CONVERT and case.target.exists and case.target.format == "raw":
            assert ("-S" in plan.argv) is not ("--target-is-zero" in plan.argv)

    @given(copy_cases(), st.sampled_from(BOTH_POLICIES))
    def test_clearing_first_is_planned_only_if_it_saves_writing(self, case: CopyCase, policy: Policy) -> None:
        plan, size = case.decide(policy), case.target.size_bytes
        if not plan.clear_first or size is None:
            assert not plan.clear_first
            return
        cleared = target(case, zero=Cleared(path=case.target.path, size_bytes=size)).decide(policy)
        assert (plan.zeros, cleared.zeros) == (PUNCH, SKIP)
        assert "--target-is-zero" in cleared.argv
        assert not cleared.clear_first

    @pytest.mark.parametrize(
        "case, first",
        [
            (target(can_punch=True), True),
            (target(can_punch=True, format="qcow2"), False),  # clearing would destroy it; qemu-img marks its clusters
            (target(can_punch=True, allocate=True), False),
            (target(can_punch=True, has_backing_file=True), False),  # what it would show of another file is no zero
            (target(can_punch=True, zero=FreshThin(path=DEVICE)), False),
            (GOOD, False),
            (target(RAW, can_punch=True), False),  # the engine clears, range by range
            (upload(can_punch=True), False),
        ],
    )
    def test_a_target_is_cleared_first_if_qemu_img_is_to_skip_its_zeros(self, case: CopyCase, first: bool) -> None:
        assert case.decide().clear_first is first


class TestArguments:
    """-W excludes -c; -f is always given and is the inspected format, never a guess of qemu-img."""

    @given(copy_cases())
    def test_out_of_order_writes_exclude_compression(self, case: CopyCase) -> None:
        assert not {"-W", "-c"} <= set(case.decide().argv)

    @given(copy_cases())
    def test_the_format_is_the_inspected_one(self, case: CopyCase) -> None:
        plan = case.decide()
        if plan.method is CONVERT:
            inspected = QEMU_NAMES[case.source.format or ""]
            named = option(plan.argv, "-f")
            assert named == inspected or (named is None and f"driver={inspected},key-secret=source" in plan.argv[-2])
            assert ("-f" in plan.argv) is not ("--image-opts" in plan.argv)

    @given(copy_cases())
    def test_only_a_conversion_runs_a_command(self, case: CopyCase) -> None:
        plan = case.decide()
        assert (plan.method is CONVERT) is bool(plan.argv)
        assert (plan.method is None) is bool(plan.refused) is (plan.zeros is None)

    @given(copy_cases(), st.sampled_from(BOTH_POLICIES))
    def test_no_passphrase_but_its_file_is_named(self, case: CopyCase, policy: Policy) -> None:
        assert not [word for word in case.decide(policy).argv if "data=" in word]

    @pytest.mark.parametrize(
        "case, argv",
        [
            (GOOD, "qemu-img convert -f qcow2 -O raw -n -t none -S 0 -W /images/one /dev/vdb"),
            (
                target(zero=FreshThin(path=DEVICE), direct_io=None, block_device=None),
                "qemu-img convert -f qcow2 -O raw -n --target-is-zero /images/one /dev/vdb",
            ),
            (
                source(target(can_punch=True), format="vhd", direct_io=True),
                "qemu-img convert -f vpc -O raw -n -t none -T none -S 0 -W /images/one /dev/vdb",
            ),
            (
                settings(upload(compress=True), prefix=("cgexec", "-g", "blkio:copy")),
                "cgexec -g blkio:copy qemu-img convert -f raw -O qcow2 -c /dev/vdb /images/new",
            ),
            (
                upload(format="vmdk", subformat="streamOptimized", compress=True, block_device=True),
                "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized /dev/vdb /images/new",
            ),
            (
                target(subformat="streamOptimized", can_punch=True, format="vmdk"),
                "qemu-img convert -f qcow2 -O vmdk -n -t none /images/one /dev/vdb",
            ),
            (
                TO_LUKS,
                f"qemu-img convert {NEW} -f raw -O luks -S 0 -o key-secret=target,{IN_AES} /dev/vdb /images/new",
            ),
            (
                source(target(LUKS, cipher=None), path="/dev/a,b"),
                f"qemu-img convert {OLD} {NEW} --image-opts -O luks -S 0 -o key-secret=target {A_B} /images/new",
            ),
        ],
    )
    def test_the_command_of_a_copy_is_the_expected_one(self, case: CopyCase, argv: str) -> None:
        assert case.decide().argv == tuple(argv.split())


class TestWithinTheTarget:
    """A plan never writes beyond the target, and tells what is left behind the copy."""

    @given(copy_cases())
    def test_the_copy_ends_within_the_target(self, case: CopyCase) -> None:
        plan, room = case.decide(), case.target.size_bytes
        if plan.method is None or room is None:
            return
        size = case.source.disk_bytes
        if plan.method is not CONVERT and case.source.format == "luks":
            size = case.source.size_bytes
        assert size is not None
        end = size if plan.method is not CONVERT else (size + 511) // 512 * 512
        assert end <= room
        assert plan.zero_from_bytes == (end if plan.zeros is not SKIP and end < room else None)

    @pytest.mark.parametrize(
        "case, refused",
        [
            (source(virtual_size_bytes=None), True),
            (source(virtual_size_bytes=GIB), False),
            (target(source(virtual_size_bytes=1000), size_bytes=1000), True),  # qemu-img writes whole sectors
            (target(source(virtual_size_bytes=1000), size_bytes=1024), False),
            (target(RAW, size_bytes=GIB - 1), False),  # and a stream does not
            (target(RAW, size_bytes=GIB - 2), True),
            (source(RAW, size_bytes=None), False),
            (source(RAW, size_bytes=None, virtual_size_bytes=None), True),
            (upload(), False),
            (source(upload(), size_bytes=None, virtual_size_bytes=None), True),
        ],
    )
    def test_a_copy_is_refused_if_it_is_known_to_end_after_the_target(self, case: CopyCase, refused: bool) -> None:
        assert ("source-fits" in [verdict.rule for verdict in case.decide().refused]) is refused

    def test_ciphertext_is_as_long_as_it_is_stored(self) -> None:
        case = target(source(format="luks", size_bytes=GIB + 1, virtual_size_bytes=GIB - 1), format="luks")
        assert [verdict.rule for verdict in case.decide().refused] == ["source-fits"]
        plan = source(case, size_bytes=GIB - 3).decide()
        assert (plan.method, plan.zero_from_bytes) == (STREAM, GIB - 3)

    def test_what_follows_the_copy_is_not_cleared_if_it_is_proven_to_be_zero(self) -> None:
        plan = target(zero=FreshThin(path=DEVICE)).decide()
        assert (plan.zeros, plan.zero_from_bytes) == (SKIP, None)

    @pytest.mark.parametrize(
        "field, value",
        [("size_bytes", -1), ("virtual_size_bytes", -1)],
    )
    def test_a_negative_size_of_a_source_is_refused(self, field: str, value: int) -> None:
        with pytest.raises(InvalidSize, match=rf"CopySource\.{field} is -1: give a size of 0 or more, or None"):
            replace(GOOD.source, **{field: value})  # type: ignore[arg-type]

    def test_a_negative_size_of_a_target_is_refused(self) -> None:
        with pytest.raises(InvalidSize, match=r"CopyTarget\.size_bytes is -1: give a size of 0 or more, or None"):
            target(size_bytes=-1)


class TestBlocks:
    """Blocks are copied where a table names them, the target is raw and there, and nothing has a key."""

    @pytest.mark.parametrize(
        "case, method",
        [
            (source(block_map=True), BLOCKS),
            (target(source(block_map=True), allocate=True), BLOCKS),
            (source(RAW, block_map=True), STREAM),
            (target(source(block_map=True), format="qcow2"), CONVERT),
            (target(source(block_map=True), size_bytes=None, path="/images/new"), CONVERT),
            (source(LUKS, block_map=True), CONVERT),
        ],
    )
    def test_blocks_are_copied_if_the_image_has_a_table_and_the_target_is_open(
        self, case: CopyCase, method: CopyMethod
    ) -> None:
        assert case.decide().method is method

    @given(copy_cases())
    def test_no_command_is_run_and_nothing_is_cleared_before(self, case: CopyCase) -> None:
        plan = case.decide()
        assert plan.method is not BLOCKS or (plan.argv, plan.clear_first) == ((), False)

    def test_the_rest_of_the_target_is_still_to_be_cleared(self) -> None:
        plan = target(source(block_map=True), can_punch=True).decide()
        assert (plan.zeros, plan.zero_from_bytes) == (PUNCH, GIB - 512)


class TestSentences:
    """What decided is in the sentence, of each rule once."""

    @pytest.mark.parametrize(
        "case, rule, text",
        [
            (
                source(path="nbd://h"),
                "paths-absolute",
                "'nbd://h' is none; qemu-img takes `json:` and `nbd:` for more than a file",
            ),
            (GOOD, "paths-absolute", "they are"),
            (GOOD, "not-itself", "from '/images/one' to '/dev/vdb'"),
            (GOOD, "format-inspected", "the inspection found 'qcow2'"),
            (source(format=None), "format-inspected", "the inspection found not known"),
            (GOOD, "format-written", "the target's format is 'raw'"),
            (GOOD, "source-fits", f"the source has {GIB - 512} bytes and the target {GIB}"),
            (upload(), "source-fits", f"the source has {GIB} bytes and the target becomes as large"),
            (GOOD, "whole-sectors", f"the source has {GIB - 512} bytes as a disk"),
            (upload(), "whole-sectors", "qemu-img is not asked for a part of a sector"),
            (source(virtual_size_bytes=None), "source-fits", "the size of the source as a disk is not known"),
            (GOOD, "device-exists", "'/dev/vdb' is there"),
            (upload(path="/dev/x"), "device-exists", "'/dev/x' is yet to be made"),
            (GOOD, "conversion-allowed", "from 'qcow2' to 'raw'; image_conversion_disable is False"),
            (RAW, "conversion-allowed", "from 'raw' to 'raw': nothing is converted"),
            (settings(qemu_img=False), "qemu-img-present", "qemu-img is not installed"),
            (GOOD, "qemu-img-present", "qemu-img is installed"),
            (RAW, "qemu-img-present", "the bytes are copied as they are"),
            (source(format="luks"), "keys-given", "the source is LUKS, and there is no key for it"),
            (target(TO_LUKS, key_file=None), "keys-given", "the target is LUKS, and there is no key for it"),
            (target(key_file="/k"), "keys-given", "there is a key for the target, which is not LUKS"),
            (source(key_file="/k"), "keys-given", "there is a key for the source, which is not LUKS"),
            (GOOD, "keys-given", "there is one for each end that is LUKS"),
            (RAW, "keys-given", "nothing is decrypted or encrypted"),
            (GOOD, "stays-encrypted", "from 'qcow2' to 'raw'"),
            (TO_LUKS, "luks-is-made", "the target is 'luks' and yet to be made"),
            (GOOD, "luks-is-made", "the target is 'raw' and there"),
            (GOOD, "compressible", "compression is not wanted of 'raw'"),
            (RAW, "same-bytes", "from 'raw' to 'raw'"),
            (GOOD, "block-map-read", "the source's table was not read; the target is 'raw' and there"),
            (
                source(upload(), block_map=True, format="vhdx"),
                "block-map-read",
                "the source's table was read; the target is 'qcow2' and yet to be made",
            ),
            (GOOD, "converted", "from 'qcow2' to 'raw'"),
            (GOOD, "allocated-in-full", "not every byte must be written"),
            (target(allocate=True), "allocated-in-full", "every byte must be written"),
            (GOOD, "encrypted", "nothing is encrypted"),
            (TO_LUKS, "encrypted", "zeros on the target are not zeros once decrypted"),
            (GOOD, "proven-zero", "nothing proves that the target reads as zeros"),
            (target(zero=FreshThin(path="/x")), "proven-zero", "FreshThin(path='/x') is not about this target"),
            (
                target(zero=Cleared(path=DEVICE, size_bytes=1)),
                "proven-zero",
                f"Cleared(path='/dev/vdb', size_bytes=1) is about a part of the target's {GIB} bytes",
            ),
            (
                target(zero=FreshThin(path=DEVICE), has_backing_file=True),
                "proven-zero",
                "FreshThin(path='/dev/vdb'), but what is not written to the target may be read from a backing file",
            ),
            (target(zero=FreshThin(path=DEVICE)), "proven-zero", "FreshThin(path='/dev/vdb')"),
            (GOOD, "zeroed-in-place", "it is not known whether the target can be zeroed in place"),
            (target(can_punch=False), "zeroed-in-place", "the target cannot be zeroed in place"),
            (upload(), "zeroed-in-place", "a new file has nothing in it to be overwritten"),
            (GOOD, "not-known-zero", "the target may hold anything, and cannot be zeroed in place"),
        ],
    )
    def test_each_strict_rule_says_what_decided(self, case: CopyCase, rule: str, text: str) -> None:
        (said,) = (verdict.text for verdict in case.decide().verdicts if verdict.rule == rule)
        assert said == text

    @given(copy_cases(), st.sampled_from(BOTH_POLICIES))
    def test_each_sentence_about_a_copy_is_one_printable_line(self, case: CopyCase, policy: Policy) -> None:
        for verdict in case.decide(policy).verdicts:
            assert str(verdict).isprintable()


CONVERT_TO, ENDS = "qemu-img convert -O", f"qcow2 {IMAGE} {DEVICE}"


class TestUpstream:
    """What Cinder runs; the differential tests compare it with Cinder itself."""

    @pytest.mark.parametrize(
        "case, argv",
        [
            (GOOD, "qemu-img convert -O raw -t none -f qcow2 /images/one /dev/vdb"),
            (source(declared_format="ami"), "qemu-img convert -O raw -t none /images/one /dev/vdb"),
            (
                source(upload(compress=True), declared_format="raw"),
                "qemu-img convert -O qcow2 -c /dev/vdb /images/new",  # and no -f
            ),
            (source(declared_format=None), "qemu-img convert -O raw -t none /images/one /dev/vdb"),
            (
                settings(RAW, qemu_img=False),
                f"dd if=/images/one of=/dev/vdb count={GIB} bs=1M iflag=count_bytes oflag=direct",
            ),
            (
                settings(source(RAW, size_bytes=0), qemu_img=False),
                "dd if=/images/one of=/dev/vdb count=0 bs=1M iflag=count_bytes oflag=direct",
            ),
            (upload(format="raw"), ""),
            (upload(compress=True, format="vmdk"), f"{CONVERT_TO} vmdk {DEVICE} /images/new"),
            (target(compress=True, format="qcow2"), f"{CONVERT_TO} qcow2 -t none -f {ENDS}"),
            (
                settings(source(RAW, size_bytes=1, direct_io=True), qemu_img=False),
                f"dd if=/images/one of=/dev/vdb count={1 << 20} bs=1M iflag=count_bytes,direct oflag=direct",
            ),
            (target(subformat="dynamic", format="vhd"), f"{CONVERT_TO} vpc -t none -o subformat=dynamic -f {ENDS}"),
            (source(declared_format="vhd"), f"{CONVERT_TO} raw -t none -f vpc {IMAGE} {DEVICE}"),
            (target(direct_io=None, allocate=True), f"{CONVERT_TO} raw -S 0 -f {ENDS}"),
            (target(block_device=None), f"{CONVERT_TO} raw -f {ENDS}"),
            (settings(prefix=("nice",)), f"nice {CONVERT_TO} raw -t none -f {ENDS}"),
            (
                target(format="luks", key_file="/run/new", cipher=AES),
                f"{CONVERT_TO} luks -t none -f qcow2 -o {IN_AES} {IN_CINDER} -o key-secret=luks_sec {IMAGE} {DEVICE}",
            ),
            (
                target(format="luks", key_file="/run/new"),
                f"{CONVERT_TO} luks -t none -f qcow2 {IN_CINDER} -o key-secret=luks_sec {IMAGE} {DEVICE}",
            ),
            (
                target(settings(LUKS, prefix=("nice",)), allocate=True, block_device=True, direct_io=True),
                f"qemu-img convert -t none -S 0 {BOTH} --image-opts {OPTIONS} -O luks -o key-secret=sec2 /images/new",
            ),
        ],
    )
    def test_the_command_of_cinder_is_the_expected_one(self, case: CopyCase, argv: str) -> None:
        assert case.decide(Policy.UPSTREAM).argv == tuple(argv.split())

    @pytest.mark.parametrize(
        "given, taken",
        [
            *(("4K", "4K"), ("64Ki", "64Ki"), ("512", "512"), ("+2M", "+2M"), ("4k", "1M"), ("0", "1M")),
            *(("04", "1M"), ("-1", "1M"), ("1.5M", "1M"), ("", "1M"), ("2M ", "1M")),
        ],
    )
    def test_cinder_takes_1m_for_a_block_size_that_it_cannot_read(self, given: str, taken: str) -> None:
        case = settings(RAW, qemu_img=False, dd_blocksize=given)
        assert f"bs={taken}" in case.decide(Policy.UPSTREAM).argv

    @given(copy_cases())
    def test_cinder_clears_nothing_after_the_copy_and_skips_no_zeros(self, case: CopyCase) -> None:
        plan = case.decide(Policy.UPSTREAM)
        assert plan.zero_from_bytes is None
        assert plan.zeros is not SKIP

    @pytest.mark.parametrize(
        "case, rule, text",
        [
            (
                settings(conversion=False),
                "conversion-allowed",
                "the image is 'qcow2' and the volume 'raw'; image_conversion_disable is True",
            ),
            (
                upload(),
                "conversion-allowed",
                "the image is 'qcow2' and the volume 'raw'; image_conversion_disable is False",
            ),
            (
                GOOD,
                "qemu-img-present",
                "qemu-img is installed; without it Cinder copies what is declared raw",
            ),
            (
                settings(qemu_img=False),
                "qemu-img-present",
                "qemu-img is not installed; without it Cinder copies what is declared raw",
            ),
            (
                source(format="vhd"),
                "format-inspected",
                "Cinder fails with a ProcessExecutionError: qemu-img has no `vhd`",
            ),
            (
                upload(format="luks"),
                "format-inspected",
                "Cinder fails with an ImageUnacceptable: its inspector does not find luks in what was made",
            ),
            (
                upload(format="vhd"),
                "format-inspected",
                "Cinder fails with a ProcessExecutionError: qemu-img has no `vhd`",
            ),
            (
                upload(format="ami"),
                "format-inspected",
                (
                    "Cinder fails with an ImageUnacceptable: "
                    "its inspector does not find not one that is written in what was made"
                ),
            ),
            (LUKS, "format-inspected", "Cinder inspects nothing on this way"),
            (settings(RAW, qemu_img=False), "format-inspected", "Cinder inspects nothing on this way"),
            (upload(), "format-inspected", "Cinder's inspector and qemu-img have one name for it"),
            (target(format="vhd"), "format-inspected", "Cinder's inspector and qemu-img have one name for it"),
            (upload(format="raw"), "format-inspected", "Cinder inspects nothing on this way"),
            (upload(), "source-fits", "Cinder looks at no size on this way"),
            (source(virtual_size_bytes=None), "source-fits", "Cinder fails with a TypeError where there is no size"),
            (
                source(virtual_size_bytes=10**400),
                "source-fits",
                "Cinder fails with an OverflowError where the size is too large for a float",
            ),
            (GOOD, "source-fits", "Cinder counts 1 GiB for the image and 1 GiB for the volume"),
            (GOOD, "stays-encrypted", "there is no key for the source"),
            (source(key_file="/k"), "stays-encrypted", "there is a key for the source"),
            (GOOD, "same-format", "the volume is 'qcow2' and the image 'raw'"),
            (GOOD, "no-qemu-img", "qemu-img is installed"),
            (settings(RAW, qemu_img=False), "no-qemu-img", "qemu-img is not installed"),
            (GOOD, "converted", "from 'qcow2' to 'raw', also where these are the same"),
            (GOOD, "bytes-as-they-come", "it is left to qemu-img"),
            (upload(format="raw"), "bytes-as-they-come", "the bytes are written as they come"),
            (GOOD, "allocated-in-full", "disable_sparse is False"),
            (GOOD, "left-to-qemu-img", "qemu-img finds the zeros, and zeroes their ranges"),
        ],
    )
    def test_the_verdicts_of_cinder_say_what_cinder_would_do(self, case: CopyCase, rule: str, text: str) -> None:
        said = [verdict.text for verdict in case.decide(Policy.UPSTREAM).verdicts if verdict.rule == rule]
        assert said == [text]

    @pytest.mark.parametrize("name", ["vmdk", "vdi", "vhdx", "qcow2", "iso"])
    def test_cinder_finds_again_the_format_that_it_wrote(self, name: str) -> None:
        assert upload(format=name).decide(Policy.UPSTREAM).refused == ()

    @pytest.mark.parametrize("name", ["vhd", "luks", "ami"])
    def test_cinder_refuses_a_format_that_it_would_not_find_again(self, name: str) -> None:
        assert [verdict.rule for verdict in upload(format=name).decide(Policy.UPSTREAM).refused] == ["format-inspected"]

    @pytest.mark.parametrize("case", [RAW, LUKS])
    def test_cinder_does_not_convert_between_two_formats_of_one_name(self, case: CopyCase) -> None:
        assert settings(case, conversion=False).decide(Policy.UPSTREAM).refused == ()

    @pytest.mark.parametrize("size, text", [(None, "a TypeError"), (10**400, "an OverflowError")])
    def test_dd_needs_a_size_that_is_a_float(self, size: int | None, text: str) -> None:
        (refused,) = settings(source(RAW, size_bytes=size), qemu_img=False).decide(Policy.UPSTREAM).refused
        assert refused.rule == "source-fits"
        assert text in refused.text

    def test_dd_copies_past_the_end_and_not_the_last_byte(self) -> None:
        case = settings(source(RAW, size_bytes=(1 << 53) + 1), qemu_img=False)
        plan = case.decide(Policy.UPSTREAM)
        assert f"count={1 << 53}" in plan.argv
        (fits,) = (verdict.text for verdict in plan.verdicts if verdict.rule == "source-fits")
        assert fits == "Cinder counts 8388608 GiB for the image and 1 GiB for the volume, and does not compare them"
        assert "source-fits" in [verdict.rule for verdict in case.decide().refused]

    def test_the_last_byte_of_a_large_size_is_lost_in_a_float_of_cinder(self) -> None:
        case = target(source(virtual_size_bytes=(1 << 53) + 1), size_bytes=1 << 53)
        assert failed(case.decide(Policy.UPSTREAM).verdicts[:5]) == ()
        assert case.decide().method is None


def test_the_settings_of_most_operators_are_the_defaults_of_cinder() -> None:
    assert CopySettings() == CopySettings(qemu_img=True, conversion=True, prefix=(), dd_blocksize="1M")


@pytest.mark.parametrize("disk_format", [*QEMU_NAMES, None])
def test_only_a_qcow2_is_converted_while_it_stays_in_glance(disk_format: str | None) -> None:
    assert can_be_read_in_ranges(disk_format) is (disk_format == "qcow2")
