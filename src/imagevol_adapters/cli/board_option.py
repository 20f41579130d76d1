"""The option `--board URL`: the lock service on which a job is shared out to the workers of many hosts."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from imagevol_adapters.error_text import keep_secret
from imagevol_adapters.file_deadline import in_time
from imagevol_core import InvalidConfiguration, MissingDependency, RequestRefused, is_secret_name
from imagevol_core.sentences import said

if TYPE_CHECKING:
    from imagevol_adapters.fleet import Fleet

__all__ = ["BOARD_PASSWORD", "add_board_options", "opened_board"]

BOARD_PASSWORD = "IMAGEVOL_BOARD_PASSWORD"  # noqa: S105 - the name of a variable
_WHERE = "--board"
_LONGEST_PASSWORD = 4096
_FILES = frozenset({"cert_key"})  # options that name the file of a key, and hold none


def add_board_options(parser: Any, *, required: bool, does: str) -> None:
    """Add the URL of the board, and the file with its password.

    Args:
        parser: of the command, or a group of its options.
        required: whether the command does nothing without a board.
        does: what the command does with the board, in the imperative.
    """
    parser.add_argument(
        "--board",
        required=required,
        metavar="URL",
        help=f"{does} in the Redis or etcd at URL, such as redis://HOST:6379 or etcd3+http://HOST:2379. A URL with a "
        f"password is refused: set {BOARD_PASSWORD}, or pass --board-password-file",
    )
    parser.add_argument(
        "--board-password-file",
        type=Path,
        metavar="FILE",
        help=f"read the password of the board from the first line of FILE (default: the variable {BOARD_PASSWORD}, "
        "otherwise no password)",
    )


@contextmanager
def opened_board(asked: argparse.Namespace) -> Iterator[Fleet]:
    """Use the board of a command while the context lasts; it is not asked yet.

    Args:
        asked: the options of the command.

    Raises:
        InvalidConfiguration: the URL names no service that keeps shards, or has a password in it.
        MissingDependency: tooz is not installed.
        RequestRefused: the password cannot be read, or cannot be used with this service.
    """
    url = _with_password(asked.board, _password(asked.board_password_file))
    try:
        from imagevol_adapters.fleet import fleet_from_url

        fleet = fleet_from_url(url, where=_WHERE)
    except ModuleNotFoundError as error:
        raise MissingDependency(str(error.name), "coordination") from error
    with closing(fleet):
        yield fleet


def _password(file: Path | None) -> str | None:
    # Programs that os-brick starts inherit the environment.
    of_environment = os.environ.pop(BOARD_PASSWORD, None) or None
    if file is None:
        password = of_environment
    else:
        try:
            password = in_time(lambda: _first_line(file), file)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise RequestRefused(f"the password of the board cannot be read: {said(file)}: {reason}") from None
        if not password:
            raise RequestRefused(f"the password of the board cannot be read: the first line of {said(file)} is empty")
    keep_secret([password])
    return password


def _first_line(path: Path) -> str:
    from imagevol_adapters.opening import open_file

    with os.fdopen(open_file(path), "rb") as file:
        return file.readline(_LONGEST_PASSWORD).decode().strip()


def _with_password(url: str, password: str | None) -> str:
    """Put the password into the URL, as the client of the service wants it: as it is, and not encoded."""
    try:
        parts = urlsplit(url)
        names = {name.lower() for name, _ in parse_qsl(parts.query)}
        secret = parts.password or "auth" in names or any(map(is_secret_name, names - _FILES))
    except ValueError:
        raise InvalidConfiguration(_WHERE, "it is not a URL") from None
    if secret or "@" in parts.path + parts.fragment:
        raise InvalidConfiguration(
            _WHERE,
            f"every user of this host can see a password in it: set {BOARD_PASSWORD}, or pass --board-password-file",
        )
    if password is None:
        if parts.username:
            raise InvalidConfiguration(
                _WHERE,
                f"it has a user, and there is no password: set {BOARD_PASSWORD}, or pass --board-password-file. If the "
                "password stands before the @, leave it out: every user of this host can see it",
            )
        return url
    if parts.scheme != "redis":
        raise RequestRefused(
            f"the password of the board is for redis:// only: unset {BOARD_PASSWORD}, or leave --board-password-file "
            "out; for etcd, use TLS with a client certificate"
        )
    if not password.isprintable() or set(password) & set("/?#[] "):
        raise RequestRefused("the password of the board cannot be used: it has a blank, /, ?, #, [ or ] in it")
    return parts._replace(netloc=f"{parts.username or ''}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
