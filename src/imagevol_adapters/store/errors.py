"""Our errors as glance_store's, which Glance knows what to answer to.

What is left behind is in our sentence.  Glance shows no note of an error that is not ours, and hears nothing of a
download that ends because its client left: what such an error names goes into the log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EACCES, EDQUOT, EFBIG, ENOSPC

from glance_store import exceptions
from oslo_config import cfg

from imagevol_adapters.cleanup import leftovers
from imagevol_adapters.error_text import one_line
from imagevol_core import (
    CallerError,
    DeadlineExceeded,
    DeviceFailed,
    ImagevolError,
    InUse,
    OverQuota,
    ResourceNotFound,
    ServiceUnreachable,
    SourceFailed,
    VolumeBusy,
    VolumeFailed,
    WrongLength,
)

__all__ = ["translated"]

LOG = logging.getLogger(__name__)

_FULL = (EFBIG, ENOSPC, EDQUOT)
_NOT_EXTENDED = ("available", "error_extending")  # as a scheduler leaves it that finds no room, and as a driver does


def _device(error: ImagevolError) -> Exception:
    number = getattr(error.__cause__, "errno", None)
    if number in _FULL:
        return exceptions.StorageFull(str(error))
    if number == EACCES:
        return exceptions.StorageWriteDenied(str(error))
    return exceptions.BackendException(str(error))


def _volume(error: ImagevolError) -> Exception:
    """Take a volume that did not become larger for want of room, as glance_store's own driver does."""
    if getattr(error, "status", None) in _NOT_EXTENDED:
        return exceptions.StorageFull(str(error))
    return exceptions.BackendException(str(error))


def _source(error: ImagevolError) -> Exception:
    """Give what the request's own body raised: Glance tells a client that went away from other faults by it."""
    if not isinstance(error.__cause__, Exception):
        return exceptions.BackendException(str(error))
    _log_leftovers(error)  # the body's own sentence does not name them
    return error.__cause__


def _busy(error: ImagevolError) -> Exception:
    """Ask for another try (503), as Cinder's client of Glance makes; what has the volume is not for Glance's users."""
    if isinstance(error, VolumeBusy) and error.holders:
        LOG.warning("%s", error)
        plain = VolumeBusy(error.volume_id, status=error.status, waited_seconds=error.waited_seconds)
        plain.leftovers = error.leftovers
        error = plain
    return exceptions.RemoteServiceUnavailable(str(error))


def _log_leftovers(error: BaseException) -> None:
    for leftover in leftovers(error):
        LOG.error("Left behind: %s", leftover)


# Ours, glance_store's, and what Glance makes of it; the special stands before the general.
_ERRORS: tuple[tuple[type[ImagevolError], Callable[[ImagevolError], Exception]], ...] = (
    (ResourceNotFound, lambda error: exceptions.NotFound(str(error))),  # 404
    (VolumeBusy, _busy),
    (InUse, lambda error: exceptions.InUseByStore(str(error))),  # 409
    (OverQuota, lambda error: exceptions.StorageFull(str(error))),  # 413
    (WrongLength, lambda error: exceptions.Invalid(str(error))),  # 400
    (SourceFailed, _source),
    (DeviceFailed, _device),  # 413 where it is full
    (VolumeFailed, _volume),  # 413 where it cannot grow
    (ServiceUnreachable, lambda error: exceptions.RemoteServiceUnavailable(str(error))),  # 503 of a download
    (DeadlineExceeded, lambda error: exceptions.BackendException(str(error))),
    (CallerError, lambda error: exceptions.BackendException(str(error))),  # the caller is the store, not its user
    (ImagevolError, lambda error: exceptions.BackendException(str(error))),
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise glance_store's error for ours, with the same sentence; what any other names as left behind is logged."""
    try:
        yield
    except cfg.Error as error:  # also of options that Glance does not look at before they are asked for
        raise exceptions.BadStoreConfiguration(store_name="cinder", reason=one_line(error)) from error
    except ImagevolError as error:
        raise next(make for kind, make in _ERRORS if isinstance(error, kind))(error) from error
    except BaseException as error:
        _log_leftovers(error)
        raise
