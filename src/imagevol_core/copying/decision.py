"""How bytes are copied: as they are, block by block, or by qemu-img; and what becomes of their zeros.

A command is built here as data and run elsewhere.  What is known decides and nothing else does: qemu-img is always told
the format that was inspected, since a guess is how an image reads a host's files, and a target is taken to be zero only
where something proves it, since what it held before may be another tenant's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagevol_core.copying.commands import clears_unseen
from imagevol_core.copying.facts import (
    Cleared,
    Copy,
    CopyMethod,
    CopySettings,
    CopySource,
    CopyTarget,
    DriverGuarantee,
    FreshThin,
    LuksCipher,
    ZeroHandling,
    ZeroProof,
)
from imagevol_core.copying.rules import STRICT_COPY_RULES, STRICT_METHOD_RULES, STRICT_ZERO_RULES, Command
from imagevol_core.copying.upstream import UPSTREAM_COPY_RULES, UPSTREAM_METHOD_RULES, UPSTREAM_ZERO_RULES
from imagevol_core.verdicts import Choice, Policy, Requirement, Verdict, evaluate, failed, first_match, table_of

__all__ = [
    "COPY_RULES",
    "METHOD_RULES",
    "ZERO_RULES",
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

_USUAL = CopySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPlan:
    """How a copy between an image and a volume is done.

    Attributes:
        policy: whose rules decided.
        method: how; None if it is refused.
        zeros: what becomes of zeros; None if it is refused.
        zero_from_bytes: from which byte on the rest of the target must be made to read as zeros, by the same way; None
            where there is no rest, where it is proven to be zero, or where it is left as it is (Cinder).
        clear_first: whether it saves something to clear the whole target before the command and read it back.  If that
            succeeds, plan again with `Cleared` as the target's proof; if not, this plan is right as it is.
        argv: the command that does it; empty if none does.
        refused: why nothing is copied; empty if something is.
        verdicts: what each rule said that could stand in the way, then which methods and ways with zeros were looked
            at.
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

    Ask `check_image_safety` first whether an untrusted source can be copied at all.

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
    verdicts = evaluate(table_of(COPY_RULES, policy), copy)
    if refused := failed(verdicts):
        return CopyPlan(policy=policy, refused=refused, verdicts=verdicts)
    (method, command), methods = first_match(table_of(METHOD_RULES, policy), copy)
    zeros, ways = first_match(table_of(ZERO_RULES, policy), copy)
    return CopyPlan(
        policy=policy,
        method=method,
        zeros=zeros,
        zero_from_bytes=table_of(_REST, policy)(copy, zeros),
        clear_first=policy is Policy.STRICT and method is CopyMethod.CONVERT and _clears_first(copy, zeros),
        argv=command(copy, zeros) if command else (),
        verdicts=(*verdicts, *methods, *ways),
    )


def _rest(copy: Copy, zeros: ZeroHandling) -> int | None:
    """The target's bytes after the copy are cloned with it; what another tenant left there must not be."""
    end, room = copy.end_bytes, copy.target.size_bytes
    if zeros is ZeroHandling.SKIP or end is None or room is None or end >= room:
        return None
    return end


def _clears_first(copy: Copy, zeros: ZeroHandling) -> bool:
    """Whether clearing the target first saves qemu-img the zeros; those of a backing file would show through."""
    return clears_unseen(copy, zeros) and not copy.target.has_backing_file


def _no_rest(_copy: Copy, _zeros: ZeroHandling) -> int | None:
    return None


_REST = {Policy.STRICT: _rest, Policy.UPSTREAM: _no_rest}


COPY_RULES: Mapping[Policy, tuple[Requirement[Copy], ...]] = {
    Policy.STRICT: STRICT_COPY_RULES,
    Policy.UPSTREAM: UPSTREAM_COPY_RULES,
}
METHOD_RULES: Mapping[Policy, tuple[Choice[Copy, tuple[CopyMethod, Command | None]], ...]] = {
    Policy.STRICT: STRICT_METHOD_RULES,
    Policy.UPSTREAM: UPSTREAM_METHOD_RULES,
}
ZERO_RULES: Mapping[Policy, tuple[Choice[Copy, ZeroHandling], ...]] = {
    Policy.STRICT: STRICT_ZERO_RULES,
    Policy.UPSTREAM: UPSTREAM_ZERO_RULES,
}
