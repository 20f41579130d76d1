"""A paste filter that gives Glance the receiving half of `x-openstack-base-image-ref` ([base]).

Cinder names the image that an uploaded volume was made from; Glance 33.0.0 does not look.  With this filter a new image
lands in the stores that its base image is in.  And `GET /v2/info/stores/detail`, which Glance answers with 500 as soon
as one store is of kind `imagevol`, is answered for such stores as for cinder ones.

The filter stands last in Glance's pipeline, where the requester is known::

    [composite:api]
    keystone = cors http_proxy_to_wsgi versionnegotiation osprofiler authtoken context imagevol rootapp

    [filter:imagevol]
    paste.filter_factory = imagevol_adapters.middleware:filter_factory
    explain_header = false
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from wsgiref.types import WSGIApplication

from oslo_config import cfg

from imagevol_adapters.gathering import gather_catalogue
from imagevol_adapters.gathering.running_glance import RunningGlance
from imagevol_adapters.middleware.base_image import CHOICE_HEADER, BaseImageStores
from imagevol_adapters.middleware.stores_detail import StoresDetail
from imagevol_core import InvalidFact

__all__ = ["CHOICE_HEADER", "OPTIONS", "BaseImageStores", "StoresDetail", "filter_factory"]

_SECTION = "the filter's section of glance-api-paste.ini"
_EXPLAIN = cfg.BoolOpt(
    "explain_header",
    default=False,
    help="Add the header x-openstack-imagevol-store-choice to the answer to an upload or import. It says which stores "
    "were chosen, and why.",
)
OPTIONS = (_EXPLAIN,)


def filter_factory(
    global_conf: Mapping[str, str],  # noqa: ARG001 - so paste calls it
    **local_conf: str,
) -> Callable[[WSGIApplication], WSGIApplication]:
    """Make the filter, as paste asks for it ([base]).

    Args:
        global_conf: paste's own defaults; none of them is looked at.
        local_conf: the options of the filter's section.  `explain_header`, off by default, says in the header
            `x-openstack-imagevol-store-choice` of an answer which store was chosen and why.

    Returns:
        What puts the filter before an application.

    Raises:
        InvalidFact: there is no such option, or its value is none.

    >>> filter_factory({}, explain_headers="yes")
    Traceback (most recent call last):
    imagevol_core.errors.InvalidFact: the filter's section of glance-api-paste.ini: there is no option \
'explain_headers'; the only one is 'explain_header'
    """
    for name in local_conf:
        if name != _EXPLAIN.name:
            raise InvalidFact(_SECTION, f"there is no option {name!r}; the only one is 'explain_header'")
    try:
        explains = _EXPLAIN.type(local_conf.get(_EXPLAIN.name, "false"))
    except ValueError as error:
        raise InvalidFact(_SECTION, f"explain_header: {error}") from error

    def filtered(app: WSGIApplication) -> WSGIApplication:
        stores = RunningGlance(cfg.CONF)
        chooser = BaseImageStores(app=app, catalogue=lambda: gather_catalogue(stores), explains=explains)
        return StoresDetail(app=chooser, conf=cfg.CONF)

    return filtered
