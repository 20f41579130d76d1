"""Which untrusted images are refused before qemu-img reads them for their data.

Any user who uploads an image writes its bytes.  Some formats name other files, and qemu-img opens those too; some
files are of two formats at once, so that what was checked is not what is read (CVE-2022-47951, CVE-2024-32498).  What
the inspection could not tell is never taken for safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from imagevol_core.safety.facts import CinderInspection, Inspection, SafetySettings, Untrusted
from imagevol_core.safety.rules import DECLARABLE, STRICT_SAFETY_RULES
from imagevol_core.safety.upstream import UPSTREAM_SAFETY_RULES
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate, failed, table_of

__all__ = ["SAFETY_RULES", "CinderInspection", "Inspection", "SafetyDecision", "SafetySettings", "check_image_safety"]

_USUAL = SafetySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyDecision:
    """Whether an image is safe to be given to qemu-img, and written to a volume.

    Attributes:
        policy: whose rules decided.
        safe: whether nothing stands in the way.
        verdicts: what each rule said.
        declare_as: the `disk_format` as which nothing would refuse it, if another one is all that it needs.
    """

    policy: Policy
    safe: bool
    verdicts: tuple[Verdict, ...]
    declare_as: str | None = None


def check_image_safety(
    inspection: Inspection,
    *,
    declared_format: str | None,
    size_gib: int | None = None,
    settings: SafetySettings = _USUAL,
    policy: Policy = Policy.STRICT,
) -> SafetyDecision:
    """Decide whether an untrusted image is safe to be read by qemu-img and written to a volume.

    Args:
        inspection: what was found in it.
        declared_format: its `disk_format`, as Glance says.
        size_gib: the size of the volume that it is for; None if it is for none in particular, and need fit nothing.
        settings: what the operator allows, and what this host can read; `UPSTREAM` has neither.
        policy: whose rules.  Under `UPSTREAM`, the checks of Cinder 29.0.0 on the way to a volume (`qemu_img_info`,
            `fetch_to_volume_format`, `check_image_format`), the first failed one of which ends it there.  It looks at
            what Cinder's own inspector finds (`Inspection.cinder`); without that, at what oslo.utils' inspector finds.

    Returns:
        The answer, and what each rule said.

    >>> qcow2 = Inspection(formats=("qcow2",), header_parses=True, virtual_size_bytes=2**30, has_backing_file=False,
    ...                    has_data_file=True, failed_checks=frozenset(), missing_bytes=0)
    >>> decision = check_image_safety(qcow2, declared_format="raw", size_gib=1)
    >>> decision.safe
    False
    >>> [verdict.rule for verdict in decision.verdicts if verdict.faults]
    ['content-as-declared', 'no-data-file']
    """
    image = Untrusted(inspection=inspection, declared_format=declared_format, size_gib=size_gib, settings=settings)
    verdicts = evaluate(table_of(SAFETY_RULES, policy), image)
    if not failed(verdicts):
        return SafetyDecision(policy=policy, safe=True, verdicts=verdicts)
    others = (replace(image, declared_format=name) for name in DECLARABLE if name in (*inspection.formats, "raw"))
    fitting = next((other for other in others if not failed(evaluate(table_of(SAFETY_RULES, policy), other))), None)
    declare_as = fitting.declared_format if fitting else None
    return SafetyDecision(policy=policy, safe=False, verdicts=verdicts, declare_as=declare_as)


SAFETY_RULES: Mapping[Policy, tuple[Requirement[Untrusted], ...]] = {
    Policy.STRICT: STRICT_SAFETY_RULES,
    Policy.UPSTREAM: UPSTREAM_SAFETY_RULES,
}
