"""A library's error in one line that is safe to show: short, without traceback, command arguments and secrets.

os-brick's errors hold whole tracebacks and the commands that it ran, with the passwords of targets in them.  What other
libraries put into theirs is not known, so every text is taken apart.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote
from weakref import WeakSet

from imagevol_core import HIDDEN, ImagevolError, is_secret_name, without_secrets, without_userinfo
from imagevol_core.sentences import duration, said

__all__ = [
    "LONGEST_LINE",
    "hide_userinfo",
    "keep_secret",
    "keep_token_secret",
    "one_line",
    "secrets_of",
    "without_known",
]

LONGEST_LINE = 400
"""How many characters of a library's error are shown."""

_READ = 8000  # characters that are looked at, of what is left without tracebacks
_TRACEBACK = "Traceback (most recent call last)"
_HEADINGS = re.compile(
    r"\s*(Chained Exception #\d+"
    r"|During handling of the above exception, another exception occurred:"
    r"|The above exception was the direct cause of the following exception:)\s*"
)
_ESCAPED = re.compile(r"(?<!\\)\\[nt]")  # in a text that quotes another one
_TYPE = re.compile(r"^\s*(?:\w+\.)+(?=\w+(?::|$))")  # of a traceback's last line
_LAST_ERROR = re.compile(r".*\b(\w{0,60}(?:Error|Exception|Failed|NotFound|Timeout|Denied)\w{0,60}: .*)", re.DOTALL)

_COMMANDS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        (
            r"(?:(?:\w{0,60}Error: )?Unexpected error while running command\.\s*)?"  # as oslo.concurrency says it
            r"Command: (?P<command>.*?)Exit code: (?P<status>\S+)"
        ),
        r"Command (?P<command>'.*'|\[.*\]) returned non-zero exit status (?P<status>-?\d+)\.?",
        r"Command (?P<command>'.*'|\[.*\]) (?:timed out after [\d.]+ seconds|died with .*)",  # subprocess
        r"(?:Failed to execute command|Command:) (?P<command>.*)",
    )
)
_OUTPUT = re.compile(r"\bStd(?:out|err): (?:b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\"|[^\n]*)", re.IGNORECASE)
# Only these are named: what stands elsewhere in a command can be an argument.
_PROGRAM = re.compile(
    "blkid|blockdev|chown|cryptsetup|dd|dmidecode|findmnt|iscsiadm|lsblk|lsscsi|lvchange|lvconvert|lvrename|lvs|mdadm"
    "|mkdir|mount|multipath|multipathd|nvme|rbd|scsi_id|sg_scan|systool|tee|udevadm|umount|vgcreate|vgs"
)

_SHORTEST_SECRET = 4  # a shorter one is part of many words, and is not hidden
_PART_OF_WORDS = 8  # a shorter one can be part of a word, and is hidden only where it is a whole word
_MOST_SECRETS = 1000  # of a process; one that comes later is hidden only if a name such as `password` is before it
_UNCLEAR = (KeyError, IndexError, AttributeError, TypeError, AssertionError)  # their text is not a sentence

_POOL = re.compile(
    r"HTTPS?ConnectionPool\(host='[^']{0,300}', port=\w{0,9}\): (?:Max retries exceeded with url: \S{0,2000} )?"
    r"\(Caused by \w+\((?P<reason>[^\n]{0,2000}?)\)\)"
)
# As urllib3 says that a connection broke, and http.client why.
_BROKEN = re.compile(
    r"\((?:'[^'\n]{0,300}'|\"[^\"\n]{0,300}\"), \w{1,40}\((?:-?\d{1,6}, )?['\"](?P<reason>[^'\"\n]{0,300})['\"]\)\)"
)
_CONNECTION = re.compile(r"^(?:<[^>]{0,300}>|HTTPS?Connection\([^)]{0,300}\)): ")


_known: dict[str, re.Pattern[str]] = {}
_signed_in: WeakSet[Any] = WeakSet()


def keep_secret(secrets: Iterable[object]) -> None:
    """Let no error show these texts from now on, wherever they stand: a service can repeat what it was sent.

    Args:
        secrets: passwords and tokens that this process was given; what is no text, or is too short, is passed over.
    """
    for secret in secrets:
        if isinstance(secret, str) and len(secret) >= _SHORTEST_SECRET and len(_known) < _MOST_SECRETS:
            in_urls = {quote(secret, safe=safe, errors="replace") for safe in ("/", "")}
            forms = {secret, *in_urls, json.dumps(secret)[1:-1], repr(secret)[1:-1]}
            pattern = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
            _known[secret] = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)" if len(secret) < _PART_OF_WORDS else pattern)


def keep_token_secret(auth: object) -> None:
    """Let no error show the token that these credentials have at that time.

    Args:
        auth: a plugin of keystoneauth; nothing is asked of Keystone for it.
    """
    if auth is not None:
        _signed_in.add(auth)


def _tokens() -> Iterator[str]:
    for auth in list(_signed_in):
        for token in (getattr(auth, "token", None), getattr(getattr(auth, "auth_ref", None), "auth_token", None)):
            if isinstance(token, str) and len(token) >= _PART_OF_WORDS:
                yield token


def without_known(text: str) -> str:
    """Give a text without what `keep_secret` and `keep_token_secret` were told.

    >>> keep_secret(["correct horse"])
    >>> without_known("the service answers: correct%20horse is no password; 'correct horse'")
    "the service answers: *** is no password; '***'"
    """
    for pattern in list(_known.values()):
        text = pattern.sub(HIDDEN, text)
    for token in _tokens():
        text = text.replace(token, HIDDEN)
    return text


def one_line(error: BaseException, *, secrets: Iterable[str] = ()) -> str:
    r"""Give an error of a library in one line of at most `LONGEST_LINE` characters.

    Args:
        error: of any kind; one of ours is given as it is.
        secrets: texts that must not be shown, in addition to those that look like one.

    >>> one_line(ValueError("no target\n at http://admin:pa55@host/"))
    'no target at http://***@host/'
    >>> one_line(KeyError("volume")), one_line(ValueError())
    ("KeyError: 'volume'", 'ValueError')
    >>> import subprocess
    >>> one_line(subprocess.CalledProcessError(5, "sudo iscsiadm -v pa55"))
    'iscsiadm failed with exit status 5'
    """
    if isinstance(error, ImagevolError):  # one line already, and as long as it must be
        return str(error)
    text = without_known(_of_a_command(error) or _text(error))
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    name = type(error).__name__
    line = said(re.sub(r"\s+", " ", without_secrets(_unnested(_taken_apart(text)))).replace(" ;", ";").strip("; "))
    if isinstance(error, _UNCLEAR) and line:
        line = f"{name}: {line}"
    return (line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…") or name


def _unnested(text: str) -> str:
    """Give the reason alone where requests and urllib3 put three sentences around it, each with the address."""
    text = _POOL.sub(lambda found: _CONNECTION.sub("", found["reason"].strip("'\"")), text)
    return _BROKEN.sub(r"\g<reason>", text)


def hide_userinfo(error: BaseException) -> None:
    """Take users and passwords of URLs, and known secrets, out of a library's error, and out of those that led to it.

    Glance and Cinder log an error of ours with its traceback, and so with the library's error that is its cause.

    >>> error = ValueError("no answer of http://me:pa55@host")
    >>> hide_userinfo(error)
    >>> error
    ValueError('no answer of http://***@host')
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        with suppress(Exception):  # some refuse it
            args = tuple(_shown(each) if isinstance(each, str) else each for each in current.args)
            if args != current.args:
                current.args = args
        current = current.__cause__ or current.__context__


def _shown(text: str) -> str:
    return without_known(without_userinfo(text))


def secrets_of(connection: Mapping[str, Any]) -> Iterator[str]:
    """Give the secrets in what Cinder tells of a connection, for `one_line`.

    >>> list(secrets_of({"target_iqn": "iqn.1", "auth_password": "pa55"}))
    ['pa55']
    """
    for name, value in connection.items():
        if isinstance(value, Mapping):
            yield from secrets_of(value)
        elif isinstance(value, str) and is_secret_name(str(name)):
            yield value


def _text(error: BaseException) -> str:
    try:
        return html.unescape(str(error))  # Glance answers in HTML
    except Exception:  # noqa: BLE001 - some fail over their own attributes
        return ""


def _of_a_command(error: BaseException) -> str:
    """What is said of a command that failed, by the error's attributes: its text quotes what it cannot know.

    They are those of oslo.concurrency's error and of subprocess's two.
    """
    if (command := getattr(error, "cmd", None)) is None and not hasattr(error, "exit_code"):
        return ""
    if (seconds := getattr(error, "timeout", None)) is not None:
        return f"{_program(str(command))} did not end in {duration(seconds)}"
    return _failed(str(command), str(getattr(error, "exit_code", getattr(error, "returncode", None))))


def _failed(command: str, status: str) -> str:
    return f"{_program(command)} failed" + (f" with exit status {status}" if status not in ("-", "None", "") else "")


def _program(command: str) -> str:
    """The name of the program, if it is one that is known, without what it is run through and its arguments."""
    words = re.split(r"[\s'\",\[\]()]+", command[:_READ])
    return next((name for name in (word.rpartition("/")[2] for word in words) if _PROGRAM.fullmatch(name)), "a command")


def _taken_apart(text: str) -> str:
    """A text without tracebacks, and without the arguments and the output of commands."""
    lines = _ESCAPED.sub(lambda found: "\n" if found[0] == r"\n" else "\t", text).splitlines()
    text = "\n".join(_without_tracebacks(lines))[:_READ]
    for pattern in _COMMANDS:
        text = pattern.sub(lambda found: _failed(found["command"], found.groupdict().get("status") or ""), text)
    return _OUTPUT.sub("", text)


def _without_tracebacks(lines: Iterable[str]) -> Iterator[str]:
    indent: str | None = None
    for line in lines:
        head, marker, rest = line.partition(_TRACEBACK)
        if marker:
            indent = line[: len(line) - len(line.lstrip())]
            yield head
            found = _LAST_ERROR.fullmatch(rest.rpartition(_TRACEBACK)[2])
            if found:  # all in one line
                yield found[1]
        elif _HEADINGS.fullmatch(line):
            yield ";"  # between two errors
        elif indent is None:
            yield line
        elif line.strip() and not line.startswith((f"{indent} ", f"{indent}\t")):
            indent = None
            yield _TYPE.sub("", line)
