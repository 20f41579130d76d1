"""The options of a backend's section, and what they and Cinder's own come to for the core.

Their defaults change nothing.
"""

from __future__ import annotations

from typing import Any

from oslo_config import cfg

from imagevol_core import CacheLimits, CloneSettings, ConversionSettings, SafetySettings, TemplateSettings

__all__ = [
    "OPTIONS",
    "clone_settings",
    "conversion_settings",
    "safety_settings",
    "template_settings",
    "trusted_projects",
]

OPTIONS = (
    cfg.BoolOpt(
        "image_template_enabled",
        default=False,
        help="Whether images are kept as templates, which volumes are cloned from. Needs "
        "cinder_internal_tenant_project_id and cinder_internal_tenant_user_id.",
    ),
    cfg.IntOpt(
        "image_template_max_size_gb",
        default=0,
        min=0,
        help="How large all templates of this backend may grow together, in GiB; 0 for no limit. The least recently "
        "used ones go first.",
    ),
    cfg.IntOpt(
        "image_template_max_count",
        default=0,
        min=0,
        help="How many templates this backend may have; 0 for no limit.",
    ),
    cfg.BoolOpt(
        "image_template_shared",
        default=True,
        help="Whether templates also serve a project that does not own the image, if Glance gives the image's data to "
        "its requester: a member of a shared image, or any user for a community image.",
    ),
    cfg.ListOpt(
        "image_clone_trusted_projects",
        default=[],
        help="The ids of the projects in which no user can write a volume's metadata: that of Glance's cinder stores. "
        "Cinder's internal tenant is always among them.",
    ),
    cfg.ListOpt(
        "image_clone_direct_url_schemes",
        default=None,
        help="The schemes of locations that this driver clones from, as allowed_direct_url_schemes, whose value it has "
        "by default. With `cinder` here and not there no volume is cloned without the strict rules.",
    ),
    cfg.ListOpt(
        "image_template_gpt_safety_checks_nonfatal",
        default=[],
        help="Make templates also of images whose partition table fails these checks: `mbr` and `gptmbr`, as in "
        "Glance's gpt_safety_checks_nonfatal. Give it the same value, so that a template is made of what Glance takes.",
    ),
)


def trusted_projects(backend: Any, cinder: Any) -> frozenset[str]:
    """Give the ids of the projects whose volumes' metadata count."""
    internal = cinder.cinder_internal_tenant_project_id
    return frozenset((*backend.image_clone_trusted_projects, *([internal] if internal else [])))


def clone_settings(backend: Any, cinder: Any) -> CloneSettings:
    """Say what the operator allows of clones.

    Args:
        backend: the options of the backend's section.
        cinder: Cinder's own.
    """
    schemes = backend.image_clone_direct_url_schemes
    return CloneSettings(
        allowed_direct_url_schemes=tuple(cinder.allowed_direct_url_schemes if schemes is None else schemes),
        trusted_projects=trusted_projects(backend, cinder),
        enforce_signatures=_enforced(cinder),
    )


def template_settings(backend: Any, cinder: Any) -> TemplateSettings:
    """Say what the operator allows of templates.

    Args:
        backend: the options of the backend's section.
        cinder: Cinder's own.
    """
    internal = cinder.cinder_internal_tenant_project_id
    return TemplateSettings(
        enabled=bool(backend.image_template_enabled),
        trusted_projects=frozenset([internal] if internal else []),
        shared=bool(backend.image_template_shared),
        enforce_signatures=_enforced(cinder),
        limits=CacheLimits(max_gib=backend.image_template_max_size_gb, max_count=backend.image_template_max_count),
    )


def conversion_settings(cinder: Any) -> ConversionSettings:
    """Say what the operator allows of images in other formats than raw.

    Args:
        cinder: Cinder's own options.
    """
    return ConversionSettings(allowed=not cinder.image_conversion_disable)


def safety_settings(backend: Any) -> SafetySettings:
    """Say what the operator allows of an image that a template is made of; Cinder has no such option of its own.

    Args:
        backend: the options of the backend's section.
    """
    return SafetySettings(nonfatal_checks=frozenset(backend.image_template_gpt_safety_checks_nonfatal))


def _enforced(cinder: Any) -> bool:
    return bool(cinder.verify_glance_signatures == "enabled")
