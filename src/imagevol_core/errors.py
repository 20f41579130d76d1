"""The error tree.

Every error of the project is an `ImagevolError` and, beside it, the builtin that fits, so that a program may catch
either.  Three families say whose fault it is and so who can mend it: the caller (`CallerError`: ask differently), a
service (`ServiceError`: try again, or look at the service), the storage (`StorageError`: look at the backend).

An error keeps what it knows as typed attributes and derives its sentence from them.  What a failed procedure could not
clean up is in `leftovers`, and in the sentence.  No sentence has the user or the password of a URL in it, or what a
terminal would obey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imagevol_core.secret_text import without_userinfo
from imagevol_core.sentences import amount, duration, said

__all__ = [
    "AccessDenied",
    "AttachFailed",
    "CallerError",
    "ContentMismatch",
    "ConversionFailed",
    "DeadlineExceeded",
    "DeviceFailed",
    "ImagevolError",
    "InUse",
    "InvalidConfiguration",
    "InvalidFact",
    "InvalidLocation",
    "InvalidMetadata",
    "InvalidSize",
    "LockLost",
    "MissingDependency",
    "MissingProgram",
    "OverQuota",
    "RequestRefused",
    "ResourceNotFound",
    "ServiceError",
    "ServiceFailed",
    "ServiceUnreachable",
    "SourceFailed",
    "StorageError",
    "TransferCancelled",
    "UnknownRelease",
    "UnsafeImage",
    "VolumeBusy",
    "VolumeFailed",
    "WrongLength",
]

_LONGEST_NAME = 255  # characters that are shown, of what a person gave


def _short(text: str) -> str:
    return said(text) if len(text) <= _LONGEST_NAME else f"{said(text[:_LONGEST_NAME])}…"


def _shown(value: object) -> str:
    """A value, unless Python refuses to write it, as a number of more than 4,300 digits."""
    try:
        return repr(value)
    except ValueError:
        return "too large to be shown"


class ImagevolError(Exception):
    """The root of all errors of this project.

    Attributes:
        leftovers: what a failed procedure could not clean up, a phrase each; empty nearly always.
    """

    def __init__(self, message: str) -> None:
        """Keep the sentence; subclasses build it from their attributes."""
        self.message = "\n".join(map(said, without_userinfo(message).split("\n")))
        super().__init__(self.message)
        self.leftovers: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The sentence, and what was left behind if anything was."""
        if not self.leftovers:
            return self.message
        return without_userinfo(f"{self.message}; left behind: {', '.join(map(said, self.leftovers))}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a process hand it to another: restored from its attributes, since `args` is but the sentence."""
        return type(self).__new__, (type(self),), {**self.__dict__, "args": self.args}


class CallerError(ImagevolError):
    """The caller's fault: change the call, or what it needs.

    The same call can succeed later only after an `InUse`, a `SourceFailed`, an `OverQuota`, a `MissingProgram`, a
    `MissingDependency` or a `TransferCancelled`.
    """


class ServiceError(ImagevolError):
    """A service's fault: try again later, or look at the service."""


class StorageError(ImagevolError):
    """The storage, or the way to it, failed: look at the backend and at this host's connection to it."""


# What a caller got wrong.


class UnknownRelease(CallerError, ValueError):
    """The behavior of this release of a service is not known.

    Attributes:
        service: which.
        release: the first number of its version.
        known: the releases that are known.
    """

    def __init__(self, service: str, release: int, *, known: Sequence[int]) -> None:
        """Name the release, and those that are known."""
        names = ", ".join(map(str, known))
        super().__init__(f"The behavior of {service} {release} is not known. Use one of these releases: {names}.")
        self.service = service
        self.release = release
        self.known = tuple(known)


class InvalidConfiguration(CallerError, ValueError):
    """A configuration has a fault.

    Attributes:
        where: the file and the line, or the option.
        reason: what is wrong there; never a value that may be a secret.
    """

    def __init__(self, where: str, reason: str) -> None:
        """Name the place and what is wrong there."""
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


class InvalidFact(CallerError, ValueError):
    """A fact contradicts itself or another one.

    Attributes:
        fact: which one.
        reason: what is wrong with it.
    """

    def __init__(self, fact: str, reason: str) -> None:
        """Name the fact and what is wrong with it."""
        super().__init__(said(f"{fact}: {reason}"))
        self.fact = fact
        self.reason = reason


class InvalidLocation(CallerError, ValueError):
    """A location does not name a volume.

    Attributes:
        shown: the location as it can be printed: what could be a credential is left out, a long one is cut.
        reason: what is wrong with it.
    """

    def __init__(self, shown: str, reason: str) -> None:
        """Take the printable form only: the text itself may carry a credential."""
        super().__init__(f"location {shown}: {reason}")
        self.shown = shown
        self.reason = reason


class InvalidMetadata(CallerError, ValueError):
    """The metadata of an image volume has a value that cannot be right.

    Attributes:
        key: the metadata key.
        value: its value.
        reason: what is wrong with it.
    """

    def __init__(self, key: str, value: str, reason: str) -> None:
        """Name the key, its value and what is wrong."""
        super().__init__(f"volume metadata {_short(key)}={_short(repr(value))}: {reason}")
        self.key = key
        self.value = value
        self.reason = reason


class InvalidSize(CallerError, ValueError):
    """No volume or image can have this size.

    Attributes:
        name: which size.
        value: what was given.
    """

    def __init__(self, name: str, value: object, reason: str) -> None:
        """Name the size, what was given and what would be right."""
        super().__init__(f"{name} is {_shown(value)}: {reason}")
        self.name = name
        self.value = value


class WrongLength(CallerError, ValueError):
    """A stream is not as long as was announced.

    Attributes:
        expected_bytes: what was announced.
        actual_bytes: what came, at least; a longer stream is not read to its end.
    """

    def __init__(self, *, expected_bytes: int, actual_bytes: int) -> None:
        """Say which of the two lengths is the greater."""
        verb = "ends after" if actual_bytes < expected_bytes else "goes on after"
        at = min(actual_bytes, expected_bytes)
        were = "was" if expected_bytes == 1 else "were"
        super().__init__(f"the data {verb} {amount(at, 'byte')}, and {amount(expected_bytes, 'byte')} {were} announced")
        self.expected_bytes = expected_bytes
        self.actual_bytes = actual_bytes


class ResourceNotFound(CallerError, LookupError):
    """A volume, an image or another resource does not exist, or these credentials cannot see it.

    Attributes:
        kind: what kind of thing (`volume`, `image`, …).
        name: its id or name.
    """

    def __init__(self, kind: str, name: str) -> None:
        """Name the thing."""
        super().__init__(f"{kind} {_short(name)} does not exist, or these credentials cannot see it")
        self.kind = kind
        self.name = name


class AccessDenied(CallerError, PermissionError):
    """The credentials are wrong, or do not allow what was asked."""


class InUse(CallerError, RuntimeError):
    """A volume, an image or an attachment cannot be changed or deleted while something else uses it."""


class VolumeBusy(InUse):
    """A volume cannot be attached now, because another program or Cinder uses it.  Try again later.

    Attributes:
        volume_id: which volume.
        status: the state it is in.
        waited_seconds: for how long the attachment was tried, in seconds.
        holders: what uses the volume, a sentence each, as far as that is known.
    """

    def __init__(
        self, volume_id: str, *, status: str | None, waited_seconds: float = 0, holders: Sequence[str] = ()
    ) -> None:
        """Name the volume, its state, and what has it, or how to find that."""
        waited = f" after {duration(waited_seconds)}" if waited_seconds >= 1 else ""
        listing = f"openstack --os-volume-api-version 3.27 volume attachment list --volume-id {volume_id}"
        found = f": {'; '.join(holders)}" if holders else f", or find what has it attached: {listing}"
        super().__init__(
            f"volume {volume_id} cannot be attached: its status is '{status}'{waited}; try again later{found}"
        )
        self.volume_id = volume_id
        self.status = status
        self.waited_seconds = waited_seconds
        self.holders = tuple(holders)


class OverQuota(CallerError, RuntimeError):
    """The quota of the project does not allow what was asked."""


class RequestRefused(CallerError, ValueError):
    """A service refused the request; the text has the message of the service."""


class MissingDependency(CallerError, ImportError):
    """A library that this function needs is not installed.

    Attributes:
        extra: the extra of this distribution that brings it.
    """

    def __init__(self, library: str, extra: str) -> None:
        """Name the library and the extra that brings it."""
        super().__init__(f"{library} is not installed: pip install 'imagevol[{extra}]'")
        self.extra = extra


class MissingProgram(CallerError, FileNotFoundError):
    """A program that this function runs is not installed.

    Attributes:
        package: the Debian package that brings it.
    """

    def __init__(self, program: str, package: str) -> None:
        """Name the program and the package that brings it."""
        super().__init__(f"{program} is not installed: apt-get install {package}")
        self.package = package


class SourceFailed(CallerError, OSError):
    """The data to be stored could not be read to its end."""


class TransferCancelled(CallerError, RuntimeError):
    """The caller cancelled a transfer.

    What it had made was deleted.  Only `fetch_image` and `put_file` keep what they have, to continue later.
    """


class UnsafeImage(CallerError, ValueError):
    """An image is not safe: qemu-img must not read it, and it must not be written to a volume.

    Attributes:
        reasons: what stands in the way, a sentence for each rule that failed, by the rule's id.
        declare_as: the `disk_format` as which nothing would refuse it, if another one is all that it needs.
    """

    def __init__(self, what: str, *, reasons: Mapping[str, str], declare_as: str | None = None) -> None:
        """Name the image, every rule that refuses it, and the format that it should be declared as."""
        hint = f"; declare it as {declare_as}" if declare_as else ""
        super().__init__(f"{what} is refused: {'; '.join(f'{rule}: {text}' for rule, text in reasons.items())}{hint}")
        self.reasons = dict(reasons)
        self.declare_as = declare_as


# What a service did not do.


class ServiceUnreachable(ServiceError, ConnectionError):
    """A service did not answer."""


class ServiceFailed(ServiceError, RuntimeError):
    """A service answered with an error of its own."""


class DeadlineExceeded(ServiceError, TimeoutError):
    """A volume, an image or a lock did not reach the wanted state in time.

    Attributes:
        seconds: how long it was waited for.
    """

    def __init__(self, what: str, *, seconds: float) -> None:
        """Say what was waited for and how long."""
        super().__init__(f"{what} after {duration(seconds)}")
        self.seconds = seconds


class LockLost(ServiceError, RuntimeError):
    """A lock was lost while it was held: do not use what was made under it.

    Attributes:
        name: the lock.
    """

    def __init__(self, name: str) -> None:
        """Name the lock."""
        super().__init__(
            f"lock {name!r} was lost: another may hold it now, so use nothing that was made under it; "
            "look whether the lock service was restarted or out of reach, or this process stood still"
        )
        self.name = name


# What the storage did not do.


class VolumeFailed(StorageError, RuntimeError):
    """A volume came to a state that it does not leave by itself, such as `error`.

    Attributes:
        volume_id: which volume.
        status: the state it is in.
        reason: what Cinder says of it, where it says anything.
    """

    def __init__(self, volume_id: str, *, status: str, wanted: str, reason: str | None = None) -> None:
        """Name the volume, where it is, where it should be, and why it is not."""
        look = reason or "Cinder gives no reason; see `openstack volume message list` and the log of cinder-volume"
        super().__init__(f"volume {volume_id} is '{status}' and should be '{wanted}': {look}")
        self.volume_id = volume_id
        self.status = status
        self.reason = reason


class AttachFailed(StorageError, OSError):
    """A volume could not be connected to this host, or not be disconnected from it."""


class DeviceFailed(StorageError, OSError):
    """Reading from or writing to an attached volume failed."""


class ConversionFailed(StorageError, RuntimeError):
    """qemu-img did not convert an image; the text has its message."""


class ContentMismatch(StorageError, ValueError):
    """The data is not what was stored, or not what the caller said.

    Do not keep the data.  Tell the owner of the image, or, if the caller gave the digest, compare it with its source.

    Attributes:
        expected: the digest that was recorded or given, as `algorithm:value`.
        actual: the digest of what was read.
    """

    def __init__(self, what: str, *, expected: str, actual: str, given: bool = False) -> None:
        """Name what was read and both digests; `given` if the caller gave the expected one."""
        if given:
            text = f"{what} is not the expected data: its digest is {actual}, and {expected} was given"
        else:
            text = f"{what} has been altered: its digest is {actual} and {expected} was recorded"
        super().__init__(text)
        self.expected = expected
        self.actual = actual
