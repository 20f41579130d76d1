"""The error tree: a family and a builtin each, a sentence from attributes, and nothing lost on the way."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from imagevol_core import errors
from imagevol_core.errors import (
    AccessDenied,
    AttachFailed,
    CallerError,
    ContentMismatch,
    DeadlineExceeded,
    DeviceFailed,
    ImagevolError,
    InUse,
    InvalidFact,
    InvalidLocation,
    InvalidMetadata,
    InvalidSize,
    MissingDependency,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceError,
    ServiceFailed,
    ServiceUnreachable,
    SourceFailed,
    StorageError,
    VolumeFailed,
    WrongLength,
)

# One of each: its family, the builtin beside it, and its sentence.
ONE_OF_EACH: list[tuple[ImagevolError, type[ImagevolError], type[Exception], str]] = [
    (InvalidFact("Image.id", "is empty"), CallerError, ValueError, "Image.id: is empty"),
    (InvalidLocation("x", "it is not a URL"), CallerError, ValueError, "location x: it is not a URL"),
    (InvalidMetadata("k", "v\n", "no"), CallerError, ValueError, "volume metadata k='v\\n': no"),
    (InvalidSize("size_gib", -1, "give more"), CallerError, ValueError, "size_gib is -1: give more"),
    (
        WrongLength(expected_bytes=5, actual_bytes=3),
        CallerError,
        ValueError,
        "the data ends after 3 bytes, and 5 bytes were announced",
    ),
    (
        ResourceNotFound("volume", "7ad3"),
        CallerError,
        LookupError,
        "volume 7ad3 does not exist, or these credentials cannot see it",
    ),
    (AccessDenied("no"), CallerError, PermissionError, "no"),
    (InUse("no"), CallerError, RuntimeError, "no"),
    (OverQuota("no"), CallerError, RuntimeError, "no"),
    (RequestRefused("no"), CallerError, ValueError, "no"),
    (
        MissingDependency("os-brick", "brick"),
        CallerError,
        ImportError,
        "os-brick is not installed: pip install 'imagevol[brick]'",
    ),
    (SourceFailed("no"), CallerError, OSError, "no"),
    (ServiceUnreachable("no"), ServiceError, ConnectionError, "no"),
    (ServiceFailed("no"), ServiceError, RuntimeError, "no"),
    (DeadlineExceeded("still creating", seconds=90), ServiceError, TimeoutError, "still creating after 90 s"),
    (
        VolumeFailed("7ad3", status="error", wanted="available"),
        StorageError,
        RuntimeError,
        (
            "volume 7ad3 is 'error' and should be 'available': Cinder gives no reason; "
            "see `openstack volume message list` and the log of cinder-volume"
        ),
    ),
    (AttachFailed("no"), StorageError, OSError, "no"),
    (DeviceFailed("no"), StorageError, OSError, "no"),
    (
        ContentMismatch("image e38f", expected="md5:0f", actual="md5:1f"),
        StorageError,
        ValueError,
        "image e38f has been altered: its digest is md5:1f and md5:0f was recorded",
    ),
]
each_error = pytest.mark.parametrize("error", [row[0] for row in ONE_OF_EACH], ids=lambda error: type(error).__name__)


class TestTree:
    """Every error is an ImagevolError of one of three families and, beside it, the builtin that fits."""

    def test_there_is_one_of_each_here(self) -> None:
        families = {ImagevolError, CallerError, ServiceError, StorageError}
        public = {getattr(errors, name) for name in errors.__all__}
        defined = {
            value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__
        }
        assert public == defined == {type(row[0]) for row in ONE_OF_EACH} | families

    @pytest.mark.parametrize("error, family, builtin, sentence", ONE_OF_EACH, ids=lambda each: None)
    def test_it_has_one_family_a_builtin_and_its_sentence(
        self, error: ImagevolError, family: type[ImagevolError], builtin: type[Exception], sentence: str
    ) -> None:
        assert [each for each in (CallerError, ServiceError, StorageError) if isinstance(error, each)] == [family]
        assert isinstance(error, builtin)
        assert str(error) == error.message == sentence

    def test_what_cinder_says_of_a_failed_volume_is_in_the_sentence(self) -> None:
        error = VolumeFailed("7ad3", status="error", wanted="available", reason="no host has room")
        assert str(error) == "volume 7ad3 is 'error' and should be 'available': no host has room"

    def test_a_longer_stream_goes_on(self) -> None:
        error = WrongLength(expected_bytes=5, actual_bytes=6)
        assert str(error) == "the data goes on after 5 bytes, and 5 bytes were announced"


class TestLeftovers:
    """What could not be cleaned up is in the sentence."""

    @each_error
    def test_what_was_left_behind_is_said(self, error: ImagevolError) -> None:
        failed = copy.copy(error)
        assert failed.leftovers == ()
        failed.leftovers = ("volume 7ad3", "attachment 9c41")
        assert str(failed) == f"{error}; left behind: volume 7ad3, attachment 9c41"


class TestPickling:
    """An error goes from one process to another and is the same."""

    @each_error
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_arrives_whole(self, error: ImagevolError, protocol: int) -> None:
        sent = copy.copy(error)
        sent.leftovers = ("volume 7ad3",)
        arrived = pickle.loads(pickle.dumps(sent, protocol))
        assert type(arrived) is type(error)
        assert arrived.__dict__ == {**error.__dict__, "leftovers": ("volume 7ad3",)}
        assert (str(arrived), arrived.args) == (str(sent), error.args)
