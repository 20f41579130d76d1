"""How bytes are copied: by sharing extents, as they are, or by qemu-img; and what becomes of their zeros.

A command is built here as data and run elsewhere.  What is known decides and nothing else does: qemu-img is always told
the format that was inspected, since a guess is how an image reads a host's files, and a target is taken to be zero only
where something proves it, since what it held before may be somebody else's.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum

from imagevol_core.copy_facts import (
    QEMU_NAMES,
    Cleared,
    Copy,
    CopySettings,
    CopySource,
    CopyTarget,
    DriverGuarantee,
    FreshThin,
    LuksCipher,
    ZeroProof,
)
from imagevol_core.copy_rules import COPY_RULES, METHOD_RULES, ZERO_RULES
from imagevol_core.verdicts import Policy, Verdict, evaluate, failed, first_match

__all__ = [
    "Cleared",
    "CopyMethod",
    "CopyPlan",
    "CopySettings",
    "CopySource",
    "CopyTarget",
    "DriverGuarantee",
    "FreshThin",
    "LuksCipher",
    "ZeroHandling",
    "ZeroProof",
    "plan_copy",
]

_MIB = 1 << 20
_USUAL = CopySettings()
_BLOCKSIZE = re.compile(r"\+?\d+([KMGTPEZYRQ]i?)?")  # that Cinder takes, and no `k`; else it is 1M


class CopyMethod(Enum):
    """How the bytes get to the target.

    `REFLINK` shares the source's extents, `STREAM` copies the bytes as they are, `BLOCKS` copies the blocks that the
    source's own table names, with zeros between them, and `CONVERT` lets qemu-img make another format.
    """

    REFLINK = "reflink"
    STREAM = "stream"
    BLOCKS = "blocks"
    CONVERT = "convert"


class ZeroHandling(Enum):
    """What becomes of the source's zeros.

    `SKIP` writes nothing, because the target is proven to read as zeros; `PUNCH` makes their ranges read as zeros
    without writing them, and reads back that they do; `WRITE` writes them.  qemu-img reads nothing back: under `PUNCH`
    its command writes the zeros too, if the target holds something already.
    """

    SKIP = "skip"
    PUNCH = "punch"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """How a copy is done.

    Attributes:
        policy: whose rules decided.
        method: how; None when it is refused.
        zeros: what becomes of zeros; None when it is refused.
        zero_from_bytes: from which byte on the rest of the target must be made to read as zeros, by the same way; None
            where there is no rest, where it is proven to be zero, or nobody looks after it (Cinder).
        clear_first: whether it saves something to clear the whole target before the command and read it back.  If that
            succeeds, plan again with `Cleared` as the target's proof; if not, this plan is right as it is.
        argv: the command that does it; empty where none does.
        refused: why nothing is copied; empty when something is.
        verdicts: what each rule said that could stand in the way, then which methods and ways with zeros were looked
            at: of those, the one that passed is the one that applies.
    """

    policy: Policy
    method: CopyMethod | None = None
    zeros: ZeroHandling | None = None
    zero_from_bytes: int | None = None
    clear_first: bool = False
    argv: tuple[str, ...] = ()
    refused: tuple[Verdict, ...] = ()
    verdicts: tuple[Verdict, ...]


def plan_copy(
    source: CopySource,
    *,
    target: CopyTarget,
    settings: CopySettings = _USUAL,
    policy: Policy = Policy.STRICT,
) -> CopyPlan:
    """Plan a copy from an image to a volume, or from a volume to an image ([store]).

    Whether the source may be copied at all, `check_image_safety` has said before.

    Args:
        source: where the bytes come from.
        target: where they go.
        settings: what the operator has and allows.
        policy: whose rules.  Under `UPSTREAM`, what Cinder 29.0.0 runs for an image that passed its checks; a target
            that is yet to be made is there an image to be uploaded, and keys mean a driver's own call of
            `convert_image`.

    Returns:
        The method, what becomes of zeros, and the command; or why not.

    >>> source = CopySource(path="/tmp/image", format="qcow2", virtual_size_bytes=2**30)
    >>> target = CopyTarget(path="/dev/vdb", size_bytes=2**30, zero=FreshThin(path="/dev/vdb"))
    >>> plan = plan_copy(source, target=target)
    >>> plan.method, plan.zeros
    (<CopyMethod.CONVERT: 'convert'>, <ZeroHandling.SKIP: 'skip'>)
    >>> " ".join(plan.argv)
    'qemu-img convert -f qcow2 -O raw -n --target-is-zero /tmp/image /dev/vdb'
    >>> [verdict.rule for verdict in plan_copy(source, target=CopyTarget(path="/dev/vdb", size_bytes=512)).refused]
    ['source-fits']
    """
    copy = Copy(source=source, target=target, settings=settings)
    verdicts = evaluate(COPY_RULES[policy], copy)
    if refused := failed(verdicts):
        return CopyPlan(policy=policy, refused=refused, verdicts=verdicts)
    method_rule, methods = first_match(METHOD_RULES[policy], copy)
    zero_rule, ways = first_match(ZERO_RULES[policy], copy)
    method, zeros = _METHODS[method_rule.id], _ZEROS[zero_rule.id]
    return CopyPlan(
        policy=policy,
        method=method,
        zeros=zeros,
        zero_from_bytes=_REST[policy](copy, zeros),
        clear_first=policy is Policy.STRICT and method is CopyMethod.CONVERT and _clears_first(copy, zeros),
        argv=_ARGV[policy][method_rule.id](copy, zeros),
        verdicts=(*verdicts, *methods, *ways),
    )


def _rest(copy: Copy, zeros: ZeroHandling) -> int | None:
    """The target's bytes behind the copy are cloned with it; what another tenant left there must not be."""
    end, room = copy.end_bytes, copy.target.size_bytes
    if zeros is ZeroHandling.SKIP or end is None or room is None or end >= room:
        return None
    return end


def _clears_unseen(copy: Copy, zeros: ZeroHandling) -> bool:
    """Whether qemu-img would clear ranges of the target, which may hold anything, and believe what it is told."""
    return zeros is ZeroHandling.PUNCH and not copy.same_bytes and copy.target.exists and copy.writes == "raw"


def _clears_first(copy: Copy, zeros: ZeroHandling) -> bool:
    """Whether clearing the target first saves qemu-img the zeros; those of a backing file would show through."""
    return _clears_unseen(copy, zeros) and not copy.target.has_backing_file


def _no_rest(_copy: Copy, _zeros: ZeroHandling) -> int | None:
    return None


# The commands.


def _none(_copy: Copy, _zeros: ZeroHandling) -> tuple[str, ...]:
    return ()


def _convert(copy: Copy, zeros: ZeroHandling) -> tuple[str, ...]:
    source, target = copy.source, copy.target
    skips, raw_device = zeros is ZeroHandling.SKIP, target.block_device is True and copy.writes == "raw"
    return (
        *copy.settings.prefix,
        *("qemu-img", "convert"),
        *_secret("source", source.key_file),
        *_secret("target", target.key_file),
        *(("--image-opts",) if source.key_file else ("-f", str(copy.reads))),
        *("-O", str(copy.writes)),
        *_if(target.exists, "-n"),  # or qemu-img would make it again, and a file lose what it has
        *_if(skips, "--target-is-zero"),
        *_if(target.direct_io is True, "-t", "none"),
        *_if(source.direct_io is True, "-T", "none"),
        *_if(zeros is ZeroHandling.WRITE or _clears_unseen(copy, zeros), "-S", "0"),
        *_if(copy.compresses, "-c"),
        *_if(raw_device and not copy.compresses, "-W"),  # where no file system has to keep them together
        *_target_options(target),
        f"driver=luks,key-secret=source,file.filename={_escaped(source.path)}" if source.key_file else source.path,
        target.path,
    )


def _target_options(target: CopyTarget) -> tuple[str, ...]:
    options = {"subformat": target.subformat, "key-secret": "target" if target.key_file else None}
    if target.key_file and target.cipher:
        cipher = target.cipher
        options |= {"cipher-alg": cipher.algorithm, "cipher-mode": cipher.mode, "ivgen-alg": cipher.ivgen}
    if target.exists:
        return ()  # what it is to be made with is too late
    text = ",".join(f"{key}={_escaped(value)}" for key, value in options.items() if value is not None)
    return _if(bool(text), "-o", text)


def _secret(name: str, key_file: str | None) -> tuple[str, ...]:
    """The passphrase by the name of its file: an argv is there for every user of the host to read."""
    if key_file is None:
        return ()
    return ("--object", f"secret,id={name},format=raw,file={_escaped(key_file)}")


def _escaped(text: str) -> str:
    """As qemu reads it in a list of options, where a comma begins the next one."""
    return text.replace(",", ",,")


def _if(condition: bool, *arguments: str) -> tuple[str, ...]:
    return arguments if condition else ()


# The commands of Cinder 29.0.0.


def _convert_upstream(copy: Copy, zeros: ZeroHandling) -> tuple[str, ...]:
    source, target = copy.source, copy.target
    cache = _if(target.block_device is True and target.direct_io is True, "-t", "none")
    sparse = _if(zeros is ZeroHandling.WRITE, "-S", "0")
    if source.key_file is not None:  # and no prefix: it is not throttled
        return (
            *("qemu-img", "convert", *cache, *sparse),
            *("--object", f"secret,id=sec1,format=raw,file={source.key_file}"),
            *("--object", f"secret,id=sec2,format=raw,file={target.key_file}"),
            "--image-opts",
            f"encrypt.format=luks,encrypt.key-secret=sec1,file.filename={source.path}",
            *("-O", "luks", "-o", "key-secret=sec2", target.path),
        )
    out = _FIXUP.get(target.format, target.format)
    declared = "" if copy.uploads else source.declared_format or ""
    named = declared.lower() not in ("", "ami")
    return (
        *copy.settings.prefix,
        *("qemu-img", "convert", "-O", out, *cache, *sparse),
        *_if(target.compress and out == "qcow2" and copy.uploads, "-c"),
        *_if(bool(target.subformat) and not copy.uploads, "-o", f"subformat={target.subformat}"),
        *_if(named, "-f", _FIXUP.get(declared, declared)),
        *_luks_upstream(target, out),
        *(source.path, target.path),
    )


def _luks_upstream(target: CopyTarget, out: str) -> tuple[str, ...]:
    if out != "luks":
        return ()
    cipher = target.cipher
    text = f"cipher-alg={cipher.algorithm},cipher-mode={cipher.mode},ivgen-alg={cipher.ivgen}" if cipher else ""
    secret = f"secret,id=luks_sec,format=raw,file={target.key_file}"
    return (*_if(bool(text), "-o", text), "--object", secret, "-o", "key-secret=luks_sec")


def _dd(copy: Copy, _zeros: ZeroHandling) -> tuple[str, ...]:
    source, target = copy.source, copy.target
    count = math.ceil(float(source.size_bytes or 0) / _MIB) * _MIB  # which loses the last byte of 2**53 + 1
    blocksize = copy.settings.dd_blocksize
    if blocksize.startswith("0") or not _BLOCKSIZE.fullmatch(blocksize):
        blocksize = "1M"
    return (
        *copy.settings.prefix,
        *("dd", f"if={source.path}", f"of={target.path}", f"count={count}", f"bs={blocksize}"),
        "iflag=count_bytes,direct" if source.direct_io is True else "iflag=count_bytes",
        *_if(target.direct_io is True, "oflag=direct"),
    )


_FIXUP = {name: QEMU_NAMES[name] for name in ("iso", "vhd", "ploop")}
_METHODS = {
    "shares-extents": CopyMethod.REFLINK,
    "same-bytes": CopyMethod.STREAM,
    "block-map-read": CopyMethod.BLOCKS,
    "converted": CopyMethod.CONVERT,
    "same-format": CopyMethod.STREAM,
    "no-qemu-img": CopyMethod.STREAM,
}
_ZEROS = {
    "allocated-in-full": ZeroHandling.WRITE,
    "encrypted": ZeroHandling.WRITE,
    "proven-zero": ZeroHandling.SKIP,
    "zeroed-in-place": ZeroHandling.PUNCH,
    "not-known-zero": ZeroHandling.WRITE,
    "bytes-as-they-come": ZeroHandling.WRITE,
    "left-to-qemu-img": ZeroHandling.PUNCH,
}
_REST = {Policy.STRICT: _rest, Policy.UPSTREAM: _no_rest}
_ARGV = {
    Policy.STRICT: {"shares-extents": _none, "same-bytes": _none, "block-map-read": _none, "converted": _convert},
    Policy.UPSTREAM: {"same-format": _none, "no-qemu-img": _dd, "converted": _convert_upstream},
}
