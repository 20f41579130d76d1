"""The options of a backend's section; `gather_cinder_settings` says what they and Cinder's own come to.

Their defaults change nothing.
"""

from __future__ import annotations

from oslo_config import cfg

__all__ = ["OPTIONS"]

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
