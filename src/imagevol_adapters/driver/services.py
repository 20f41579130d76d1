"""What the mixin needs beside the driver: the operator's locks, a converter, and Glance's data and word."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from typing import Any

import attrs
from cinder import exception
from cinder.image import glance
from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors
from oslo_config import cfg

from imagevol_adapters.closing import Closeable, close, closing
from imagevol_adapters.coordination import ToozLocks, from_conf
from imagevol_adapters.error_text import one_line
from imagevol_adapters.ports import Converter, Locks
from imagevol_adapters.transfers.remote_image import NoRanges
from imagevol_core import STALL_SECONDS

__all__ = ["Services", "gives_data", "locks_of_cinder", "range_of"]

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
        range_of: gives the data of an image, by its id, to the requester of a context, from an offset on.
    """

    locks: Locks
    converter: Converter
    gives_data: Callable[[Any, str], bool]
    range_of: Callable[[Any, str, int], Iterable[bytes]]


@functools.cache
def locks_of_cinder() -> ToozLocks:
    """Give the locks of the operator's own lock service: one member of it for all backends of a process."""
    return from_conf(cfg.CONF)


def gives_data(context: Any, image_id: str, *, seconds: float = STALL_SECONDS) -> bool:
    """Ask Glance for the first byte of an image with the requester's own token, and tell whether it comes.

    What Glance shows of an image is no proof: its policy `download_image` may still refuse the data. Neither is an
    answer to a range that the image does not have: some releases of Glance give it before they look at the policy.

    Args:
        context: of the request. Its token is the requester's.
        image_id: which image.
        seconds: how long to wait for a byte.
    """
    if not context.auth_token:
        return False
    try:
        response, data = _asked(context, image_id, "bytes=0-0", seconds)
        with closing(response):
            return response.status_code in (_OK, _PARTIAL) and bool(next(iter(data or ()), b""))
    except _ERRORS as error:
        LOG.info("Image %s: Glance does not give its data to project %s: %s", image_id, context.project_id, error)
        return False


def range_of(context: Any, image_id: str, offset: int, *, seconds: float = STALL_SECONDS) -> Iterable[bytes]:
    """Give the data of an image from an offset on, to its end.

    Args:
        context: of the request. Its token is the requester's.
        image_id: which image.
        offset: of the first byte.
        seconds: how long to wait for a byte.

    Raises:
        NoRanges: Glance, or the store that the image is in, gives none.
    """
    try:
        response, data = _asked(context, image_id, f"bytes={offset}-", seconds)
    except _ERRORS as error:
        raise NoRanges(f"image {image_id}: Glance gives no range of it: {one_line(error)}") from error
    if response.status_code != _PARTIAL or not _begins_at(response, offset):
        close(response)
        raise NoRanges(f"image {image_id}: Glance gives no range of it, but status {response.status_code}")
    return Closeable(iter(data or ()), response)


def _begins_at(response: Any, offset: int) -> bool:
    return str(response.headers.get("Content-Range", "")).startswith(f"bytes {offset}-")


def _asked(context: Any, image_id: str, wanted: str, seconds: float) -> tuple[Any, Any]:
    """Ask Glance for a range of an image, and wait so long for a byte; give the response, and the data in it."""
    netloc, use_ssl = next(iter(glance.get_api_servers(context)))
    client = glance.GlanceClientWrapper(context, netloc, use_ssl)
    # Not among the headers of the call: python-glanceclient percent-encodes their =, and Glance refuses the range.
    client.client.http_client.additional_headers = {"Range": wanted}
    url = f"/v2/images/{image_id}/file"
    # Without Keystone, python-glanceclient has a deadline of its own, 600 seconds, and takes no other.
    limits = {"timeout": seconds} if cfg.CONF.auth_strategy == "keystone" else {}
    response, data = client.call(context, "get", url, controller="http_client", **limits)
    return response, data
