"""Values that nobody means well with, of any type: what a hostile user, a broken service or a full disk can hand over.

Some are plausible, so that a decision gets beyond its first rule: what is wrong everywhere is refused at once.
"""

from __future__ import annotations

import collections.abc
import math
import types
import typing
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from random import Random
from typing import Any

from imagevol_core import ImagevolError

ID, OTHER_ID = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1", "9a1b6b0c-93e4-4a3c-a2a5-000000000000"
URL = f"cinder://fast/{ID}"
TEXTS = (
    *(
        "",
        " ",
        "\0",
        "..",
        ".",
        "detail",
        "-",
        "--",
        "/",
        "//",
        "@",
        "#",
        "://",
        "cinder://",
        "http://[",
        "s3://k:s@h/b",
    ),
    *("\x1b[2J", "a\nb", "\r", "\ud800", "\u202e", "٣", "ä", "x" * 5000, "%a" * 50, "%", "_", "[" * 5000, "{}", "[]"),
    *("9" * 5000, "-1", "0", "1", "1e400", "nan", "inf", str(2**64 - 1), str(2**1024), "0x10", "1_0", "+1", "null"),
    *(ID, OTHER_ID, ID.upper(), f"{ID}/metadata", URL, f"cinder://{ID}", f"cinder://fast:x@h/{ID}", f"imagevol://{ID}"),
    *("fast", "slow", "raw", "qcow2", "true", "false", "default", "None", "os_glance_tasks_store", "enabled_backends"),
)
INTEGERS = (
    *(0, 1, 2, 3, -1, 5, 512, 4096, 2**20, 2**30 - 1, 2**30, 2**30 + 1, 2**31 - 1, 2**31, 2**53 + 1),
    *(2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 2**1024 - 1, 2**1024, 10**400, 10**4000, -(2**63), -(10**400)),
)
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMES = (
    *(NOON, NOON, NOON, NOON - timedelta(days=1), NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))),
    *(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-23, minutes=-59))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=23, minutes=59))),
)
SPANS = (timedelta(0), timedelta(seconds=1), timedelta(days=1), timedelta(-1), timedelta.max, timedelta.min)
# What a value of this name is nearly always.
PLAUSIBLE: Mapping[str, tuple[Any, ...]] = {
    "id": (ID, OTHER_ID, "i"),
    "image_id": (ID, OTHER_ID, "i"),
    "volume_id": (ID, OTHER_ID),
    "name": ("fast", "slow", "local"),
    "kind": ("cinder", "imagevol", "file", "http"),
    "status": ("active", "available", "queued", "in-use", "error", "deleting", "creating"),
    "visibility": ("public", "private", "shared"),
    "owner": ("p", "q"),
    "project_id": ("p", "q"),
    "disk_format": ("raw", "qcow2", "vmdk", "vhd", "iso"),
    "declared_format": ("raw", "qcow2", "vmdk", "vhd", "iso"),
    "container_format": ("bare", "ovf"),
    "host": ("node@fast#one", "node@fast", "node"),
    "url": (URL, f"cinder://{ID}", "file:///x"),
    "volume_type": ("ssd", "hdd"),
    "default": ("fast", "slow"),
    "text": ("", URL, f"{'a' * 64}  disk.img", "sha256:" + "a" * 64),
    "encrypted": (False, False, True),
    "size_gib": (1, 2, 5),
    "size_bytes": (1, 2**30),
    **dict.fromkeys(("write_bytes_per_second", "read_bytes_per_second"), (1.0, 1e9, 1e-300)),
    **dict.fromkeys(
        (f"{step}_seconds" for step in ("create", "clone", "attach", "detach", "delete")), (0.0, 2.5, 1e18)
    ),
}
KEYS = (
    *("image_id", "glance_image_id", "image_size", "image_owner", "os_hash_algo", "os_hash_value", "store", "readonly"),
    *("block_device_mapping", "stores", "default_store", "glance_store", "cinder", "fast", "DEFAULT", "file"),
    *("cinder_volume_type", "signature_verified", "img_signature", "hw_disk_bus", ID, OTHER_ID, "i", "p"),
)
_DEEP = 6


class Unmakeable(Exception):
    """There is no such value, as far as this module can tell."""


def make(hint: Any, random: Random, *, name: str = "", depth: int = 0) -> Any:
    """Make a value of a type; `name` is what it is called where it is used.

    Raises:
        ImagevolError: what was made up contradicts itself.
        Unmakeable: of this type nothing can be made up.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if name in PLAUSIBLE and random.random() < 0.7:
        plausible = random.choice(PLAUSIBLE[name])
        kinds = arguments if origin in (types.UnionType, typing.Union) else (hint,)
        if type(plausible) in kinds:
            return plausible
    if origin in (types.UnionType, typing.Union):
        return make(random.choice(arguments), random, name=name, depth=depth)
    if origin is typing.Literal:
        return random.choice(arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return tuple(make(each, random, depth=depth + 1) for each in arguments)
    if origin is collections.abc.Callable:
        answer = arguments[1]
        return lambda *asked: _answer(answer, asked, random)
    if origin in _MANY:
        count = random.choice((0, 1, 1, 2, 3)) if depth < _DEEP else 0
        count = max(count, name == "verdicts")  # a decision that was made has the verdict that made it
        return _MANY[origin](
            make(arguments[0], random, name=name.removesuffix("s"), depth=depth + 1) for _ in range(count)
        )
    if origin in (dict, collections.abc.Mapping):
        return _mapping(arguments, random, depth)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return random.choice(list(hint))
    if is_dataclass(hint):
        return _facts(hint, random, depth)
    if isinstance(hint, type) and issubclass(hint, tuple):  # with names
        hints = typing.get_type_hints(hint)
        return hint(*(make(each, random, name=field, depth=depth + 1) for field, each in hints.items()))
    if hint in _PLAIN:
        return _PLAIN[hint](random)
    raise Unmakeable(hint)


def arguments_of(function: Callable[..., Any], random: Random) -> dict[str, Any]:
    """Make up all arguments of a function, or leave some out that have a default."""
    hints = typing.get_type_hints(function)
    kinds = function.__code__
    names = kinds.co_varnames[: kinds.co_argcount + kinds.co_kwonlyargcount]
    optional = {*names[kinds.co_argcount - len(function.__defaults__ or ()) : kinds.co_argcount]}
    optional |= set(function.__kwdefaults__ or ())
    return {
        name: patiently(hints[name], random, name=name)
        for name in names
        if name not in optional or random.random() < 0.7
    }


def patiently(hint: Any, random: Random, *, name: str = "") -> Any:
    """Make a value, however often what is made up contradicts itself."""
    for _ in range(50):
        try:
            return make(hint, random, name=name)
        except ImagevolError:
            continue
    raise Unmakeable(hint)


def _facts(hint: Any, random: Random, depth: int) -> Any:
    hints = typing.get_type_hints(hint)
    made = {}
    for field in fields(hint):
        required = field.default is MISSING and field.default_factory is MISSING
        if field.init and (required or random.random() < 0.6):
            made[field.name] = make(hints[field.name], random, name=field.name, depth=depth + 1)
    return hint(**made)


def _mapping(arguments: tuple[Any, ...], random: Random, depth: int) -> dict[Any, Any]:
    key, value = arguments
    made = {}
    for _ in range(random.choice((0, 1, 2, 4)) if depth < _DEEP else 0):
        name = random.choice(KEYS) if key is str and random.random() < 0.8 else make(key, random, depth=depth + 1)
        made[name] = make(value, random, name=str(name), depth=depth + 1)
    return made


def _answer(hint: Any, asked: tuple[Any, ...], random: Random) -> Any:
    """What a callable gives; of a mapping that it is asked for, some of the keys."""
    if typing.get_origin(hint) in (dict, collections.abc.Mapping):
        keys = [key for each in asked if isinstance(each, (list, tuple)) for key in each]
        value = typing.get_args(hint)[1]
        return {key: patiently(value, random) for key in keys if random.random() < 0.8}
    return patiently(hint, random)


_MANY: Mapping[Any, Callable[[Any], Any]] = {
    tuple: tuple,
    list: list,
    frozenset: frozenset,
    set: set,
    Counter: Counter,
    collections.abc.Collection: list,
    collections.abc.Iterable: iter,
    collections.abc.Sequence: list,
}
_PLAIN: Mapping[Any, Callable[[Random], Any]] = {
    str: lambda random: random.choice(TEXTS),
    int: lambda random: random.choice(INTEGERS),
    bool: lambda random: random.random() < 0.5,
    float: lambda random: random.choice((0.0, 1.0, -1.0, 1e308, math.inf, -math.inf, math.nan)),
    bytes: lambda random: random.choice(TEXTS).encode(errors="replace"),
    datetime: lambda random: random.choice(TIMES),
    timedelta: lambda random: random.choice(SPANS),
    type(None): lambda _: None,
    object: lambda random: random.choice((None, 7, "text", [], {})),
    Any: lambda random: random.choice((None, 7, "text", [], {})),
}
