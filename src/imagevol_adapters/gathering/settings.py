"""What Cinder is configured with, as the decisions ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from imagevol_core import (
    CacheLimits,
    CloneSettings,
    ConversionSettings,
    ImageCache,
    InvalidFact,
    Policy,
    SafetySettings,
    TemplateSettings,
    UploadSettings,
)

__all__ = ["ASSUMABLE", "CinderSettings", "gather_cinder_settings"]

ASSUMABLE = ("clones", "templates", "cache")
"""The settings that can be assumed: see `CinderSettings.assumed`."""


def _names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@attrs.frozen(kw_only=True)
class CinderSettings:
    """What the operator has configured in Cinder for one backend.

    With its defaults, nothing is cloned, and the backend has neither templates nor Cinder's image cache.

    Attributes:
        clones: which image volumes the driver clones, by the strict rules.
        cinders_clones: which image volumes Cinder itself clones, after the driver or without it.
        templates: whether the driver makes templates, for whom, and how many.
        cache: whether the backend has Cinder's image cache, and how large it can become; without its entries.
        conversion: whether Cinder converts images.
        safety: which faults of a partition table a template may have.
        uploads: how a volume becomes an image.
        assumed: which of `clones`, `templates` and `cache` are assumed and not known, by these names.  `unknown_facts`
            then says what follows from other values.

    >>> settings = CinderSettings(
    ...     clones=CloneSettings(allowed_direct_url_schemes=("cinder",), trusted_projects=frozenset({"service"})),
    ...     assumed={"templates", "cache"},
    ... )
    >>> settings.templates.enabled, settings.cinders_clones.allowed_direct_url_schemes
    (False, ())
    """

    clones: CloneSettings = attrs.field(factory=CloneSettings)
    cinders_clones: CloneSettings = attrs.field(factory=CloneSettings)
    templates: TemplateSettings = attrs.field(factory=TemplateSettings)
    cache: ImageCache = attrs.field(factory=ImageCache)
    conversion: ConversionSettings = attrs.field(factory=ConversionSettings)
    safety: SafetySettings = attrs.field(factory=SafetySettings)
    uploads: UploadSettings = attrs.field(factory=UploadSettings)
    assumed: frozenset[str] = attrs.field(default=frozenset(), converter=_names)

    @assumed.validator
    def _check(self, _: object, value: frozenset[str]) -> None:
        if wrong := sorted(value - set(ASSUMABLE)):
            raise InvalidFact("assumed", f"it names {', '.join(wrong)}, and can only name {', '.join(ASSUMABLE)}")

    def clones_of(self, policy: Policy) -> CloneSettings:
        """Give what is allowed of clones under a policy."""
        return self.clones if policy is Policy.STRICT else self.cinders_clones


def gather_cinder_settings(backend: Any, cinder: Any) -> CinderSettings:
    """Collect what the operator has configured for a backend.

    Both arguments have an attribute for each option.  `CinderConfiguration.settings` calls this for a `cinder.conf`.

    Args:
        backend: the options of the backend's section.  In a running service, the driver's `configuration`.
        cinder: Cinder's own options.  In a running service, `oslo_config.cfg.CONF`.

    >>> from types import SimpleNamespace
    >>> from oslo_config import cfg
    >>> from imagevol_adapters.configuration.backend_options import OPTIONS
    >>> backend = SimpleNamespace(**{option.name: option.default for option in OPTIONS})
    >>> cinder = SimpleNamespace(allowed_direct_url_schemes=["cinder"], verify_glance_signatures="enabled",
    ...                          image_conversion_disable=True, cinder_internal_tenant_project_id=None)
    >>> settings = gather_cinder_settings(backend, cinder)
    >>> settings.clones.allowed_direct_url_schemes, settings.conversion.allowed, settings.cache.enabled
    (('cinder',), False, False)
    """
    schemes, cinders = backend.image_clone_direct_url_schemes, tuple(cinder.allowed_direct_url_schemes)
    project_id, user_id = cinder.cinder_internal_tenant_project_id or None, _value(cinder, _TENANT_USER)
    internal = frozenset([project_id] if project_id else [])
    enforced = bool(cinder.verify_glance_signatures == "enabled")
    return CinderSettings(
        clones=CloneSettings(
            allowed_direct_url_schemes=cinders if schemes is None else tuple(schemes),
            trusted_projects=internal | frozenset(backend.image_clone_trusted_projects),
            enforce_signatures=enforced,
        ),
        cinders_clones=CloneSettings(allowed_direct_url_schemes=cinders, enforce_signatures=enforced),
        templates=TemplateSettings(
            enabled=bool(backend.image_template_enabled),
            internal_tenant=bool(project_id and user_id),
            trusted_projects=internal,
            shared=bool(backend.image_template_shared),
            enforce_signatures=enforced,
            limits=CacheLimits(max_gib=backend.image_template_max_size_gb, max_count=backend.image_template_max_count),
        ),
        cache=ImageCache(
            enabled=bool(_value(backend, "image_volume_cache_enabled")),
            internal_tenant=bool(project_id and user_id),
            limits=CacheLimits(
                max_gib=_value(backend, "image_volume_cache_max_size_gb") or 0,
                max_count=_value(backend, "image_volume_cache_max_count") or 0,
            ),
        ),
        conversion=ConversionSettings(allowed=not cinder.image_conversion_disable),
        safety=SafetySettings(nonfatal_checks=frozenset(backend.image_template_gpt_safety_checks_nonfatal)),
        uploads=UploadSettings(
            use_cinder_backend=bool(_value(backend, "image_upload_use_cinder_backend")),
            use_internal_tenant=bool(_value(backend, "image_upload_use_internal_tenant")),
            internal_tenant=project_id if user_id else None,
        ),
    )


_TENANT_USER = "cinder_internal_tenant_user_id"


def _value(options: Any, name: str) -> Any:
    """Give the value of one of Cinder's options for backends, which only its manager and its drivers register."""
    return getattr(options, name, None)
