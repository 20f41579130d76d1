"""The data of an image, through Glance: a connection that breaks is asked for the rest."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import AbstractContextManager, ExitStack
from http import HTTPStatus
from typing import Protocol

from imagevol_adapters.engine.watching import elsewhere
from imagevol_adapters.keystone import timed_out
from imagevol_adapters.repeating import seconds_to_wait
from imagevol_core import STALL_SECONDS, ImagevolError, ServiceFailed, ServiceStalled
from imagevol_core.resuming import BrokenRead, decide_read_retry

__all__ = ["Answer", "Ask", "read_ranges"]

_LOG = logging.getLogger(__name__)
_PART_BYTES = 1 << 20
_CAREFUL_BYTES = 1 << 16  # after a failure: what a connection gave of a part that is not whole is lost


class Answer(Protocol):
    """What is used of an answer of `requests`."""

    @property
    def status_code(self) -> int:
        """The HTTP status."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """The headers."""

    def iter_content(self, chunk_size: int) -> Iterator[bytes]:
        """Give its body."""


Ask = Callable[[Mapping[str, str]], AbstractContextManager[Answer]]
"""Asks for the data, with these headers; what it raises is translated."""


def read_ranges(
    ask: Ask,
    *,
    what: str,
    offset: int,
    end: int,
    size_bytes: int,
    patience_seconds: float = STALL_SECONDS,
) -> Iterator[bytes]:
    """Give the bytes of an image from `offset` to `end`: all of them, or an error.

    If the connection breaks, or Glance is restarted, the rest is asked for, for a while and with growing pauses.

    Args:
        ask: asks Glance.
        what: names the image in an error and in the log.
        offset: of the first byte.
        end: of the byte after the last one.
        size_bytes: how many bytes the image has.
        patience_seconds: how long to ask without a byte coming.

    Raises:
        ServiceStalled: Glance gives no more data, and no error.
        ServiceError: Glance gives no more data.
        ImagevolError: it refuses them.
    """
    at, failures, came, begun = offset, 0, time.monotonic(), False
    while at < end:
        ranged: bool | None = None
        try:
            with ExitStack() as stack:
                with elsewhere():
                    answer = stack.enter_context(ask(_headers(at, end, size_bytes)))
                begun = True
                ranged = _is_part(answer, at) if at else None
                if ranged is False:
                    raise ServiceFailed(f"Glance, reading {what}: it gives the whole image, and not the part asked for")
                chunks = iter(answer.iter_content(_CAREFUL_BYTES if failures else _PART_BYTES))
                while (chunk := _next(chunks)) is not None:
                    at, failures, came = at + len(chunk), 0, time.monotonic()
                    yield chunk
            if at < end:
                raise ServiceFailed(
                    f"Glance, reading {what}: the data ended after {at - offset} of {end - offset} bytes"
                )
        except ImagevolError as error:
            failures += 1
            retry = decide_read_retry(
                BrokenRead(
                    begun=begun,
                    failures=failures,
                    waited_seconds=time.monotonic() - came,
                    status=_status(error),
                    retry_after_seconds=_retry_after(error),
                    ranges=ranged,
                    patience_seconds=patience_seconds,
                )
            )
            if not retry.again:
                if timed_out(error):
                    raise ServiceStalled(f"Glance, reading {what}", seconds=patience_seconds) from error
                raise
            _LOG.warning("%s; asking for the rest from byte %d in %g s", error, at, retry.wait_seconds)
            with elsewhere():
                time.sleep(retry.wait_seconds)
    if at > end:
        raise ServiceFailed(f"Glance, reading {what}: the data ended after {at - offset} of {end - offset} bytes")


def _next(chunks: Iterator[bytes]) -> bytes | None:
    with elsewhere():  # the connection has the deadline
        return next(chunks, None)


def _is_part(answer: Answer, at: int) -> bool:
    """Tell whether an answer begins at the byte that was asked for."""
    named = answer.headers.get("Content-Range") or f"bytes {at}-"
    return answer.status_code == HTTPStatus.PARTIAL_CONTENT and named.startswith(f"bytes {at}-")


def _headers(at: int, end: int, size_bytes: int) -> dict[str, str]:
    return {} if (at, end) == (0, size_bytes) else {"Range": f"bytes={at}-{end - 1}"}


def _status(error: ImagevolError) -> int | None:
    status = getattr(error.__cause__, "http_status", None) or getattr(error.__cause__, "code", None)
    return status if isinstance(status, int) else None


def _retry_after(error: ImagevolError) -> float | None:
    return seconds_to_wait(getattr(getattr(error.__cause__, "response", None), "headers", None) or {})
