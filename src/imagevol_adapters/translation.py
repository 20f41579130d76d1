"""How a library's errors become ours, in one place for each seam.

A table says which error of a library becomes which of ours; the library's own stays as `__cause__`.  Tables are walked
in order, so the special stands before the general.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from keystoneauth1 import exceptions as keystone

from imagevol_core import AccessDenied, ImagevolError, ServiceFailed, ServiceUnreachable

__all__ = ["KEYSTONE", "Table", "translated"]

Table = Sequence[tuple[type[Exception], Callable[[str], ImagevolError], str]]
"""Rows of a library's error, ours, and what to do about it, which may be nothing that is not in the text."""

KEYSTONE: Table = (
    (keystone.Unauthorized, AccessDenied, "check user, password and project (clouds.yaml, OS_*, or a store's section)"),
    (keystone.Forbidden, AccessDenied, "use credentials that may do this"),
    (keystone.MissingRequiredOptions, AccessDenied, "name a cloud with OS_CLOUD or --os-cloud, or set all of OS_*"),
    (keystone.MissingAuthPlugin, AccessDenied, "name a cloud with OS_CLOUD or --os-cloud, or set all of OS_*"),
    (keystone.AuthorizationFailure, AccessDenied, "check the credentials in clouds.yaml or in OS_*"),
    (keystone.EndpointNotFound, ServiceUnreachable, "check region and interface, and the service catalogue"),
    (keystone.ConnectionError, ServiceUnreachable, "check the URL, and that the service runs"),
    (keystone.DiscoveryFailure, ServiceUnreachable, "check the URL, and that the service runs"),
    (keystone.ClientException, ServiceFailed, ""),
    # requests' own, of a CA file that is not there; what else it raises, keystoneauth translates.
    (
        OSError,
        ServiceFailed,
        "check the CA file (cacert in clouds.yaml, OS_CACERT, or a store's cinder_ca_certificates_file)",
    ),
)


@contextmanager
def translated(table: Table, *, doing: str) -> Iterator[None]:
    """Turn the errors of a table into ours, with what was being done in front and what to do behind.

    Args:
        table: which becomes which.
        doing: for the sentence, as `Cinder, volume X`.

    >>> with translated([(KeyError, ServiceFailed, "look there")], doing="Cinder, volume 7"):
    ...     {}["size"]
    Traceback (most recent call last):
    imagevol_core.errors.ServiceFailed: Cinder, volume 7: 'size'; look there
    """
    try:
        yield
    except ImagevolError:
        raise  # some are the operating system's errors too
    except tuple(kind for kind, _, _ in table) as error:
        make, advice = next((make, advice) for kind, make, advice in table if isinstance(error, kind))
        text = f"{doing}: {' '.join(html.unescape(str(error)).split())}"  # Glance answers in HTML
        raise make(f"{text}; {advice}" if advice else text) from error
