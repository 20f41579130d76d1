"""Every error of a library becomes one of ours: of the right family, on one line, with its cause."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
import requests
from cinderclient import exceptions as cinder_errors
from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors
from urllib3 import exceptions as urllib3_errors

from imagevol_adapters.cinder import client as cinder_client
from imagevol_adapters.glance import asking as glance
from imagevol_adapters.keystone import KEYSTONE
from imagevol_adapters.translation import Table, translated
from imagevol_core import (
    AccessDenied,
    DeviceFailed,
    ImagevolError,
    OverQuota,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
)
from tests.adapters.library_errors import instance

SEAMS = {
    "cinder": (cinder_errors, cinder_client.ERRORS),
    "glance": (glance_errors, glance.ERRORS),
    "keystone": (keystone_errors, KEYSTONE),
}


def errors(module: ModuleType) -> list[type[Exception]]:
    return [kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


@pytest.mark.parametrize("seam, kind", [(seam, kind) for seam, (module, _) in SEAMS.items() for kind in errors(module)])
def test_every_error_of_a_library_becomes_ours(seam: str, kind: type[Exception]) -> None:
    error = instance(kind)
    with pytest.raises(ImagevolError) as caught, translated(SEAMS[seam][1], doing="Service, volume 7"):
        raise error
    assert caught.value.__cause__ is error
    assert str(caught.value).startswith("Service, volume 7: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("seam", SEAMS)
def test_no_row_stands_behind_a_more_general_one(seam: str) -> None:
    kinds = [row[0] for row in SEAMS[seam][1]]
    for place, kind in enumerate(kinds):
        assert not issubclass(kind, tuple(kinds[:place])), kind


@pytest.mark.parametrize(
    "table, error, expected",
    [
        (cinder_client.ERRORS, cinder_errors.Unauthorized(401), AccessDenied),
        (cinder_client.ERRORS, cinder_errors.Forbidden(403), AccessDenied),
        (cinder_client.ERRORS, cinder_errors.OverLimit(413), OverQuota),
        (cinder_client.ERRORS, cinder_errors.BadRequest(400), RequestRefused),
        (cinder_client.ERRORS, cinder_errors.ClientException(500), ServiceFailed),
        (cinder_client.ERRORS, cinder_errors.ConnectionError("no route"), ServiceUnreachable),
        (glance.ERRORS, glance_errors.HTTPUnauthorized(), AccessDenied),
        (glance.ERRORS, glance_errors.HTTPForbidden(), AccessDenied),
        (glance.ERRORS, glance_errors.HTTPOverLimit(), OverQuota),
        (glance.ERRORS, glance_errors.HTTPConflict(), RequestRefused),
        (glance.ERRORS, glance_errors.HTTPInternalServerError(), ServiceFailed),
        (glance.ERRORS, glance_errors.CommunicationError("no route"), ServiceUnreachable),
        (glance.ERRORS, ConnectionResetError("reset"), ServiceFailed),
        (KEYSTONE, keystone_errors.Unauthorized("no"), AccessDenied),
        (KEYSTONE, keystone_errors.ConnectFailure("no route"), ServiceUnreachable),
        (KEYSTONE, keystone_errors.EndpointNotFound("none"), ServiceUnreachable),
        (KEYSTONE, keystone_errors.InternalServerError("oops"), ServiceFailed),
        (KEYSTONE, OSError("no such CA file"), ServiceFailed),
        (cinder_client.ERRORS, OSError("no such CA file"), ServiceFailed),
        (cinder_client.ERRORS, requests.ReadTimeout("slow"), ServiceUnreachable),
        (glance.ERRORS, requests.exceptions.ChunkedEncodingError("cut"), ServiceFailed),
        (glance.ERRORS, urllib3_errors.ReadTimeoutError(None, "http://x", "slow"), ServiceUnreachable),  # type: ignore[arg-type]
        (cinder_client.ERRORS, KeyError("volume"), ServiceFailed),
    ],
)
def test_the_family_says_whose_fault_it_is(table: Table, error: Exception, expected: type[ImagevolError]) -> None:
    with pytest.raises(ImagevolError) as caught, translated(table, doing="x"):
        raise error
    assert type(caught.value) is expected


def test_the_advice_is_the_end_of_the_line_and_html_is_read() -> None:
    table = [(LookupError, ServiceFailed, "look there")]
    with pytest.raises(ServiceFailed) as caught, translated(table, doing="it"):
        raise LookupError("It&#x27;s\n gone")
    assert str(caught.value) == "it: It's gone; look there"


def test_an_error_of_ours_is_not_renamed_though_it_is_one_of_the_system() -> None:
    error = DeviceFailed("no space left")
    with pytest.raises(DeviceFailed) as caught, translated(glance.ERRORS, doing="x"):
        raise error
    assert caught.value is error


def test_an_error_that_no_row_names_shows_itself() -> None:
    with pytest.raises(ZeroDivisionError), translated([(LookupError, ServiceFailed, "")], doing="x"):
        raise ZeroDivisionError
