"""How a library's errors become ours, in one place for each seam.

A table says which error of a library becomes which of ours; the library's own stays as `__cause__`.  Tables are walked
in order, so the special stands before the general.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keystoneauth1 import exceptions as keystone

from imagevol_core import AccessDenied, ImagevolError, ServiceFailed, ServiceUnreachable

__all__ = ["KEYSTONE", "Table", "translated"]

Table = Sequence[tuple[type[Exception], Callable[[str], ImagevolError]]]
"""Rows of a library's error and of what makes ours from its text."""

KEYSTONE: Table = (
    (keystone.Unauthorized, lambda text: AccessDenied(f"Keystone refuses the credentials: {text}; check the cloud's auth settings")),
    (keystone.Forbidden, lambda text: AccessDenied(f"Keystone does not allow it: {text}")),
    (keystone.MissingRequiredOptions, lambda text: AccessDenied(f"the credentials are incomplete: {text}")),
    (keystone.MissingAuthPlugin, lambda text: AccessDenied(f"there are no credentials: {text}")),
    (keystone.AuthorizationFailure, lambda text: AccessDenied(f"Keystone gives no token: {text}")),
    (keystone.EndpointNotFound, lambda text: ServiceUnreachable(f"the service catalogue has no such endpoint: {text}")),
    (keystone.ConnectFailure, lambda text: ServiceUnreachable(f"no answer: {text}")),
    (keystone.DiscoveryFailure, lambda text: ServiceUnreachable(f"no usable API there: {text}")),
    (keystone.ClientException, ServiceFailed),
)


@contextmanager
def translated(table: Table, *, doing: str) -> Iterator[None]:
    """Turn the errors of a table into ours, with what was being done in front.

    Args:
        table: which becomes which.
        doing: for the sentence, as `Cinder, volume X`.

    >>> with translated([(KeyError, ServiceFailed)], doing="Cinder, volume 7"):
    ...     {}["size"]
    Traceback (most recent call last):
    imagevol_core.errors.ServiceFailed: Cinder, volume 7: 'size'
    """
    try:
        yield
    except tuple(kind for kind, _ in table) as error:
        make = next(make for kind, make in table if isinstance(error, kind))
        text = " ".join(str(error).split())
        raise make(f"{doing}: {text}") from error
