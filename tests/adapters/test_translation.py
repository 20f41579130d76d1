"""Every error of a library becomes one of ours: of the right family, on one line, with its cause."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
from cinderclient import exceptions as cinder_errors
from glanceclient import exc as glance_errors
from keystoneauth1 import exceptions as keystone_errors

from imagevol_adapters import cinder_client, glance
from imagevol_adapters.translation import KEYSTONE, Table, translated
from imagevol_core import (
    AccessDenied,
    DeviceFailed,
    ImagevolError,
    OverQuota,
    RequestRefused,
    ServiceFailed,
    ServiceUnreachable,
)

SEAMS = {
    "cinder": (cinder_errors, cinder_client.ERRORS),
    "glance": (glance_errors, glance._ERRORS),
    "keystone": (keystone_errors, KEYSTONE),
}
# What the libraries raise only in their own command lines, for versions that we do not ask for, or not at all.
NEVER_MET = {
    "cinder": {
        "AmbiguousEndpoints",
        "AuthSystemNotFound",
        "AuthorizationFailure",
        "CommandError",
        "InvalidAPIVersion",
        "NoTokenLookupException",
        "NoUniqueMatch",
        "ResourceInErrorState",
        "TimeoutException",
        "UnsupportedAttribute",
        "UnsupportedVersion",
        "VersionNotFoundForAPIMethod",
    },
    "glance": {
        "BaseException",
        "ClientException",
        "CommandError",
        "NoTokenLookupException",
        "SSLCertificateError",
        "SSLConfigurationError",
    },
    "keystone": {
        "ImpliedMaxVersionMismatch",
        "ImpliedMinVersionMismatch",
        "ImpliedVersionMismatch",
        "RetriableConnectionFailure",
    },
}
TEXT = "first line &amp; more\n\n   second line"


def errors(module: ModuleType) -> list[type[Exception]]:
    return [kind for kind in vars(module).values() if inspect.isclass(kind) and issubclass(kind, Exception)]


def raised(kind: type[Exception]) -> Exception:
    """An instance, whatever its own constructor asks for."""
    error = kind.__new__(kind, TEXT)
    error.args = (TEXT,)
    for name, value in {"message": TEXT, "details": TEXT, "code": 499, "request_id": None}.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize("seam, kind", [(seam, kind) for seam, (module, _) in SEAMS.items() for kind in errors(module)])
def test_every_error_of_a_library_becomes_ours_or_is_known_never_to_be_met(seam: str, kind: type[Exception]) -> None:
    table = SEAMS[seam][1]
    error = raised(kind)
    if kind.__name__ in NEVER_MET[seam]:
        assert not isinstance(error, tuple(row[0] for row in table))
        return
    with pytest.raises(ImagevolError) as caught, translated(table, doing="Service, volume 7"):
        raise error
    assert caught.value.__cause__ is error
    assert str(caught.value).startswith("Service, volume 7: ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("seam", SEAMS)
def test_what_is_known_never_to_be_met_exists(seam: str) -> None:
    assert NEVER_MET[seam] <= {kind.__name__ for kind in errors(SEAMS[seam][0])}


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
        (glance._ERRORS, glance_errors.HTTPUnauthorized(), AccessDenied),
        (glance._ERRORS, glance_errors.HTTPForbidden(), AccessDenied),
        (glance._ERRORS, glance_errors.HTTPOverLimit(), OverQuota),
        (glance._ERRORS, glance_errors.HTTPConflict(), RequestRefused),
        (glance._ERRORS, glance_errors.HTTPInternalServerError(), ServiceFailed),
        (glance._ERRORS, glance_errors.CommunicationError("no route"), ServiceUnreachable),
        (glance._ERRORS, ConnectionResetError("reset"), ServiceFailed),
        (KEYSTONE, keystone_errors.Unauthorized("no"), AccessDenied),
        (KEYSTONE, keystone_errors.ConnectFailure("no route"), ServiceUnreachable),
        (KEYSTONE, keystone_errors.EndpointNotFound("none"), ServiceUnreachable),
        (KEYSTONE, keystone_errors.InternalServerError("oops"), ServiceFailed),
        (KEYSTONE, OSError("no such CA file"), ServiceFailed),
        (cinder_client.ERRORS, OSError("no such CA file"), ServiceFailed),
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
    with pytest.raises(DeviceFailed) as caught, translated(glance._ERRORS, doing="x"):
        raise error
    assert caught.value is error


def test_an_error_that_no_row_names_is_a_defect_and_shows_itself() -> None:
    with pytest.raises(ZeroDivisionError), translated(glance._ERRORS, doing="x"):
        raise ZeroDivisionError
