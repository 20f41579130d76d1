"""What the mixin needs beside the driver: the operator's locks, a converter, and Glance's word on a requester."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import attrs
from cinder import exception
from cinder.image import glance
from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors
from oslo_config import cfg

from imagevol_adapters.closing import closing
from imagevol_adapters.coordination import ToozLocks, from_conf
from imagevol_adapters.ports import Converter, Locks

__all__ = ["Services", "gives_data", "locks_of_cinder"]

LOG = logging.getLogger(__name__)

_OK, _PARTIAL = 200, 206
_ERRORS = (
    glance_errors.BaseException,
    glance_errors.ClientException,
    keystone_errors.ClientException,
    exception.CinderException,
    OSError,  # of a connection that breaks
    StopIteration,  # where no Glance is known
)


@attrs.frozen(kw_only=True)
class Services:
    """What a driver with the mixin uses that is not the driver's own.

    Args:
        locks: of the operator's lock service.
        converter: for images that are not raw.
        gives_data: tells whether Glance gives the data of an image, by its id, to the requester of a context.
    """

    locks: Locks
    converter: Converter
    gives_data: Callable[[Any, str], bool]


@functools.cache
def locks_of_cinder() -> ToozLocks:
    """Give the locks of the operator's own lock service: one member of it for all backends of a process."""
    return from_conf(cfg.CONF)


def gives_data(context: Any, image_id: str) -> bool:
    """Ask Glance for the first byte of an image with the requester's own token, and tell whether it comes.

    What Glance shows of an image is no proof: its policy `download_image` may still refuse the data. Neither is an
    answer to a range that the image does not have: some releases of Glance give it before they look at the policy.

    Args:
        context: of the request. Its token is the requester's.
        image_id: which image.
    """
    if not context.auth_token:
        return False
    try:
        netloc, use_ssl = next(iter(glance.get_api_servers(context)))
        client = glance.GlanceClientWrapper(context, netloc, use_ssl)
        # Not among the headers of the call: python-glanceclient percent-encodes their =, and Glance refuses the range.
        client.client.http_client.additional_headers = {"Range": "bytes=0-0"}
        response, data = client.call(context, "get", f"/v2/images/{image_id}/file", controller="http_client")
        with closing(response):
            return response.status_code in (_OK, _PARTIAL) and bool(next(iter(data or ()), b""))
    except _ERRORS as error:
        LOG.info("Image %s: Glance does not give its data to project %s: %s", image_id, context.project_id, error)
        return False
