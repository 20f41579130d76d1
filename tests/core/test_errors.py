"""The error tree: a family and a builtin each, a sentence from attributes, and nothing lost on the way."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Mapping
from typing import NamedTuple

import pytest

from imagevol_core import errors
from imagevol_core.errors import (
    AccessDenied,
    AttachFailed,
    CallerError,
    ContentMismatch,
    ConversionFailed,
    DeadlineExceeded,
    DeviceFailed,
    ImagevolError,
    InUse,
    InvalidConfiguration,
    InvalidFact,
    InvalidLocation,
    InvalidMetadata,
    InvalidSize,
    LockLost,
    MissingDependency,
    MissingProgram,
    OverQuota,
    RequestRefused,
    ResourceNotFound,
    ServiceError,
    ServiceFailed,
    ServiceUnreachable,
    SourceFailed,
    StorageError,
    TransferCancelled,
    UnknownRelease,
    UnsafeImage,
    VolumeBusy,
    VolumeFailed,
    WrongLength,
)


class Example(NamedTuple):
    """How an error is made, its family, the builtin beside it, its sentence, and what else it knows."""

    make: Callable[[], ImagevolError]
    family: type[ImagevolError]
    builtin: type[Exception]
    sentence: str
    knows: Mapping[str, object] = {}


EXAMPLES: Mapping[type[ImagevolError], Example] = {
    UnknownRelease: Example(
        lambda: UnknownRelease("cinder", 27, known=(28, 29)),
        CallerError,
        ValueError,
        "The behavior of cinder 27 is not known. Use one of these releases: 28, 29.",
        {"service": "cinder", "release": 27, "known": (28, 29)},
    ),
    InvalidConfiguration: Example(
        lambda: InvalidConfiguration("glance-api.conf:7", "there is no '='"),
        CallerError,
        ValueError,
        "glance-api.conf:7: there is no '='",
        {"where": "glance-api.conf:7", "reason": "there is no '='"},
    ),
    InvalidFact: Example(
        lambda: InvalidFact("Image.id", "is empty"),
        CallerError,
        ValueError,
        "Image.id: is empty",
        {"fact": "Image.id", "reason": "is empty"},
    ),
    InvalidLocation: Example(
        lambda: InvalidLocation("x", "it is not a URL"),
        CallerError,
        ValueError,
        "location x: it is not a URL",
        {"shown": "x", "reason": "it is not a URL"},
    ),
    InvalidMetadata: Example(
        lambda: InvalidMetadata("k", "v\n", "no"),
        CallerError,
        ValueError,
        "volume metadata k='v\\n': no",
        {"key": "k", "value": "v\n", "reason": "no"},
    ),
    InvalidSize: Example(
        lambda: InvalidSize("size_gib", -1, "give more"),
        CallerError,
        ValueError,
        "size_gib is -1: give more",
        {"name": "size_gib", "value": -1},
    ),
    WrongLength: Example(
        lambda: WrongLength(expected_bytes=5, actual_bytes=3),
        CallerError,
        ValueError,
        "the data ends after 3 bytes, and 5 bytes were announced",
        {"expected_bytes": 5, "actual_bytes": 3},
    ),
    ResourceNotFound: Example(
        lambda: ResourceNotFound("volume", "7ad3"),
        CallerError,
        LookupError,
        "volume 7ad3 does not exist, or these credentials cannot see it",
        {"kind": "volume", "name": "7ad3"},
    ),
    AccessDenied: Example(lambda: AccessDenied("no"), CallerError, PermissionError, "no"),
    InUse: Example(lambda: InUse("no"), CallerError, RuntimeError, "no"),
    VolumeBusy: Example(
        lambda: VolumeBusy("7ad3", status="in-use", waited_seconds=24.2),
        CallerError,
        InUse,
        (
            "volume 7ad3 cannot be attached: its status is 'in-use' after 24 seconds; try again later, or find what "
            "has it attached: openstack --os-volume-api-version 3.27 volume attachment list --volume-id 7ad3"
        ),
        {"volume_id": "7ad3", "status": "in-use", "waited_seconds": 24.2, "holders": ()},
    ),
    OverQuota: Example(lambda: OverQuota("no"), CallerError, RuntimeError, "no"),
    RequestRefused: Example(lambda: RequestRefused("no"), CallerError, ValueError, "no"),
    MissingDependency: Example(
        lambda: MissingDependency("os-brick", "brick"),
        CallerError,
        ImportError,
        "os-brick is not installed: pip install 'imagevol[brick]'",
        {"extra": "brick"},
    ),
    MissingProgram: Example(
        lambda: MissingProgram("qemu-img", "qemu-utils"),
        CallerError,
        FileNotFoundError,
        "qemu-img is not installed: apt-get install qemu-utils",
        {"package": "qemu-utils"},
    ),
    SourceFailed: Example(lambda: SourceFailed("no"), CallerError, OSError, "no"),
    TransferCancelled: Example(lambda: TransferCancelled("no"), CallerError, RuntimeError, "no"),
    UnsafeImage: Example(
        lambda: UnsafeImage("image e38f", reasons={"one-format": "it is two", "checks-passed": "1 failed"}),
        CallerError,
        ValueError,
        "image e38f is refused: one-format: it is two; checks-passed: 1 failed",
        {"reasons": {"one-format": "it is two", "checks-passed": "1 failed"}, "declare_as": None},
    ),
    ServiceUnreachable: Example(lambda: ServiceUnreachable("no"), ServiceError, ConnectionError, "no"),
    ServiceFailed: Example(lambda: ServiceFailed("no"), ServiceError, RuntimeError, "no"),
    DeadlineExceeded: Example(
        lambda: DeadlineExceeded("still creating", seconds=90),
        ServiceError,
        TimeoutError,
        "still creating after 90 seconds",
        {"seconds": 90},
    ),
    LockLost: Example(
        lambda: LockLost("template"),
        ServiceError,
        RuntimeError,
        (
            "lock 'template' was lost: another may hold it now, so use nothing that was made under it; "
            "look whether the lock service was restarted or out of reach, or this process stood still"
        ),
        {"name": "template"},
    ),
    VolumeFailed: Example(
        lambda: VolumeFailed("7ad3", status="error", wanted="available"),
        StorageError,
        RuntimeError,
        (
            "volume 7ad3 is 'error' and should be 'available': Cinder gives no reason; "
            "see `openstack volume message list` and the log of cinder-volume"
        ),
        {"volume_id": "7ad3", "status": "error", "reason": None},
    ),
    AttachFailed: Example(lambda: AttachFailed("no"), StorageError, OSError, "no"),
    DeviceFailed: Example(lambda: DeviceFailed("no"), StorageError, OSError, "no"),
    ConversionFailed: Example(lambda: ConversionFailed("no"), StorageError, RuntimeError, "no"),
    ContentMismatch: Example(
        lambda: ContentMismatch("image e38f", expected="md5:0f", actual="md5:1f"),
        StorageError,
        ValueError,
        "image e38f has been altered: its digest is md5:1f and md5:0f was recorded",
        {"expected": "md5:0f", "actual": "md5:1f"},
    ),
}


@pytest.fixture
def error(request: pytest.FixtureRequest) -> ImagevolError:
    """The error of an example, made while the test runs."""
    made = EXAMPLES[request.param].make()
    assert type(made) is request.param
    return made


each_error = pytest.mark.parametrize("error", EXAMPLES, indirect=True, ids=lambda kind: kind.__name__)


class TestTree:
    """Every error is an ImagevolError of one of three families and, beside it, the builtin that fits."""

    def test_every_error_has_an_example_here(self) -> None:
        families = {ImagevolError, CallerError, ServiceError, StorageError}
        public = {getattr(errors, name) for name in errors.__all__}
        defined = {
            value for _, value in inspect.getmembers(errors, inspect.isclass) if value.__module__ == errors.__name__
        }
        assert public == defined == EXAMPLES.keys() | families

    @each_error
    def test_every_error_has_one_family_and_one_builtin_and_its_sentence(self, error: ImagevolError) -> None:
        example = EXAMPLES[type(error)]
        assert [each for each in (CallerError, ServiceError, StorageError) if isinstance(error, each)] == [
            example.family
        ]
        assert isinstance(error, example.builtin)
        assert str(error) == error.message == example.sentence
        assert error.args == (example.sentence,)

    @each_error
    def test_every_error_keeps_its_attributes(self, error: ImagevolError) -> None:
        beside = {"message": EXAMPLES[type(error)].sentence, "leftovers": ()}
        assert error.__dict__ == {**beside, **EXAMPLES[type(error)].knows}

    def test_what_cinder_says_of_a_failed_volume_is_in_the_sentence(self) -> None:
        error = VolumeFailed("7ad3", status="error", wanted="available", reason="no host has room")
        assert str(error) == "volume 7ad3 is 'error' and should be 'available': no host has room"
        assert error.reason == "no host has room"

    def test_the_error_of_a_longer_stream_says_that_it_goes_on(self) -> None:
        error = WrongLength(expected_bytes=5, actual_bytes=6)
        assert str(error) == "the data goes on after 5 bytes, and 5 bytes were announced"
        error = WrongLength(expected_bytes=1, actual_bytes=2)
        assert str(error) == "the data goes on after 1 byte, and 1 byte was announced"
        error = WrongLength(expected_bytes=2, actual_bytes=1)
        assert str(error) == "the data ends after 1 byte, and 2 bytes were announced"

    def test_an_error_with_several_lines_keeps_them(self) -> None:
        assert str(ConversionFailed("qemu-img:\n\tno space")) == "qemu-img:\n\\tno space"

    def test_a_busy_volume_tells_for_how_long_it_was_waited_for_if_it_was(self) -> None:
        for waited_seconds, text in {0.9: "'in-use'; try", 1: "'in-use' after 1 second; try"}.items():
            assert text in str(VolumeBusy("7ad3", status="in-use", waited_seconds=waited_seconds))
        assert VolumeBusy("7ad3", status="in-use").waited_seconds == 0

    def test_the_error_of_a_busy_volume_names_the_holder_if_it_is_known(self) -> None:
        error = VolumeBusy("7ad3", status="in-use", holders=["server web-1 has it", "host node has it"])
        assert str(error) == (
            "volume 7ad3 cannot be attached: its status is 'in-use'; try again later: "
            "server web-1 has it; host node has it"
        )
        assert error.holders == ("server web-1 has it", "host node has it")

    def test_the_error_of_a_wrong_declaration_names_the_right_format(self) -> None:
        error = UnsafeImage("image e38f", reasons={"one-format": "it is vmdk"}, declare_as="vmdk")
        assert str(error) == "image e38f is refused: one-format: it is vmdk; declare it as vmdk"
        assert error.declare_as == "vmdk"

    def test_a_name_is_shown_whole_up_to_255_characters_and_cut_after_them(self) -> None:
        assert f" {'x' * 255} " in str(ResourceNotFound("volume", "x" * 255))
        assert f" {'x' * 255}… " in str(ResourceNotFound("volume", "x" * 255 + "y"))


class TestLeftovers:
    """What could not be cleaned up is in the sentence."""

    @each_error
    def test_an_error_says_what_was_left_behind(self, error: ImagevolError) -> None:
        failed = copy.copy(error)
        assert failed.leftovers == ()
        failed.leftovers = ("volume 7ad3", "attachment 9c41")
        assert str(failed) == f"{error}; left behind: volume 7ad3, attachment 9c41"


class TestPickling:
    """An error goes from one process to another and is the same."""

    @each_error
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_a_pickled_error_arrives_whole(self, error: ImagevolError, protocol: int) -> None:
        sent = copy.copy(error)
        sent.leftovers = ("volume 7ad3",)
        arrived = pickle.loads(pickle.dumps(sent, protocol))
        assert type(arrived) is type(error)
        assert arrived.__dict__ == {**error.__dict__, "leftovers": ("volume 7ad3",)}
        assert (str(arrived), arrived.args) == (str(sent), error.args)


def test_a_digest_that_was_given_is_told_from_one_that_was_recorded() -> None:
    error = ContentMismatch("the image", expected="md5:0f", actual="md5:1f", given=True)
    assert str(error) == "the image is not the expected data: its digest is md5:1f, and md5:0f was given"


def test_a_size_that_python_cannot_write_is_not_shown() -> None:
    error = InvalidSize("size_bytes", 10**5000, "give a smaller one")
    assert str(error) == "size_bytes is too large to be shown: give a smaller one"
