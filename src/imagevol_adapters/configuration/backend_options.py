"""The options of a backend's section; `gather_cinder_settings` says what they and Cinder's own come to.

With their defaults no template is made.  Image volumes are cloned by the strict rules if `cinder` is in Cinder's
allowed_direct_url_schemes.
"""

from __future__ import annotations

from oslo_config import cfg

from imagevol_adapters.configuration.metrics_option import METRICS_FILE
from imagevol_adapters.configuration.stall_option import STALL_OPTION

__all__ = ["OPTIONS"]

OPTIONS = (
    cfg.BoolOpt(
        "image_template_enabled",
        default=False,
        help="Keep a template of each image on this backend, and clone new volumes from it. Needs "
        "cinder_internal_tenant_project_id and cinder_internal_tenant_user_id.",
    ),
    cfg.IntOpt(
        "image_template_max_size_gb",
        default=0,
        min=0,
        help="Upper limit, in GiB, for the total size of all templates of this backend; 0 for no limit. The least "
        "recently used templates are deleted first.",
    ),
    cfg.IntOpt(
        "image_template_max_count",
        default=0,
        min=0,
        help="Upper limit for the number of templates of this backend; 0 for no limit. The least recently used "
        "templates are deleted first.",
    ),
    cfg.BoolOpt(
        "image_template_shared",
        default=True,
        help="Clone templates also for a project that does not own the image, if Glance gives the image's data to the "
        "requester: a member of a shared image, or any user for a community image.",
    ),
    cfg.ListOpt(
        "image_clone_trusted_projects",
        default=[],
        help="Believe what the metadata of volumes says of images in these projects, given by their ids. Name the "
        "project of Glance's cinder stores, and no project in which a user can write a volume's metadata. "
        "Cinder's internal tenant is always believed.",
    ),
    cfg.ListOpt(
        "image_clone_direct_url_schemes",
        default=None,
        help="Clone image volumes by the strict rules if `cinder` is in this list. To enforce these rules, list "
        "`cinder` here and not in allowed_direct_url_schemes, by which Cinder clones without them. If this "
        "option is not set, it has the value of allowed_direct_url_schemes.",
    ),
    cfg.ListOpt(
        "image_template_gpt_safety_checks_nonfatal",
        default=[],
        help="Make templates also of images whose partition table fails these checks: `mbr` and `gptmbr`, as in "
        "Glance's gpt_safety_checks_nonfatal. Give it the same value, so that a template is made of what Glance takes.",
    ),
    METRICS_FILE,
    STALL_OPTION,
)
