"""The data of the page in few bytes, and its sums: an image takes about 80 bytes, whatever is said of it.

What many images have in common is stored once and named by its number: a text, an answer, and a pattern of an image:
its format, status, visibility and stores, and the answers for all places.  A text names the ids and the sizes of its
own image by a character for each, so that such texts are the same.  A UUID takes 22 letters of base64.  The images are
in the order of their names, and a name begins with how many characters it has in common with the one before.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

import attrs

from imagevol_adapters.reporting.contents import KINDS, Answer, Contents, Kind, ShownImage, ShownPlace
from imagevol_core.sentences import said

__all__ = ["Packed", "PlaceSums", "packed_id", "packed_images"]

FIRST, MOST = 0xE000, 256  # the characters that stand for an id or a size; `said` lets none of them through
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_OWN = re.compile(rf"{_UUID.pattern}|(?<![\w.])[0-9]{{6,}}(?![\w.])")  # which few images have in common
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SHOWN_AT_ONCE = 25


@attrs.define(kw_only=True)
class PlaceSums:
    """What the images come to in a place.

    Attributes:
        place: which.
        ways: how many images by each way.
        saved_bytes: what is not written because images are cloned.
        saved_seconds: how much sooner a volume of each image is there; None if not known of any.
        copied_bytes: what is written for the images that are not cloned, as far as it is known.
        reasons: how many images by each rule that stands in the way.
    """

    place: ShownPlace
    ways: Counter[str] = attrs.field(factory=Counter)
    saved_bytes: int = 0
    saved_seconds: float | None = None
    copied_bytes: int = 0
    reasons: Counter[str] = attrs.field(factory=Counter)

    def add(self, answer: Answer) -> None:
        """Count an image."""
        self.ways[answer.way] += 1
        self.saved_bytes += answer.saved_bytes
        self.copied_bytes += answer.copied_bytes or 0
        if answer.saved_seconds is not None:
            self.saved_seconds = (self.saved_seconds or 0.0) + answer.saved_seconds
        self.reasons.update({rule for rule, _ in answer.against})

    def of_kind(self, kind: Kind) -> int:
        """Count the images of a kind."""
        return sum(count for way, count in self.ways.items() if KINDS[way] is kind)


@attrs.define(kw_only=True)
class Packed:
    """The images as data for the script, and their sums.

    Attributes:
        data: as JSON has it.
        sums: one for each place.
        first: the images that the page shows without its script.
        count: of images.
        size_bytes: of all images, as stored.
        image_volumes: how many volumes the locations name.
        by_store: how many images each store has.
        by_format: how many images by format.
    """

    data: dict[str, Any]
    sums: list[PlaceSums]
    first: list[ShownImage]
    count: int = 0
    size_bytes: int = 0
    image_volumes: int = 0
    by_store: Counter[str] = attrs.field(factory=Counter)
    by_format: Counter[str] = attrs.field(factory=Counter)


class _Numbers:
    """Gives each value a number, the same one each time."""

    def __init__(self) -> None:
        self.values: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        return self.values.setdefault(value, len(self.values))


def packed_id(text: str) -> str:
    """Give an id in few letters, none of which is a blank.

    >>> packed_id("9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"), packed_id("a b")
    ('mhtrDJPkSjyipT1b0tO2oQ', '=a%20b')
    """
    if _UUID.fullmatch(text):
        return urlsafe_b64encode(UUID(text).bytes).decode().rstrip("=")
    return f"={quote(text, safe='', errors='backslashreplace')}"


def packed_images(contents: Contents) -> Packed:
    """Read the images once, and give them as data with their sums, in the order of their names."""
    texts, answers, patterns = _Numbers(), _Numbers(), _Numbers()
    ids: list[str] = []
    own: list[str] = []
    names: list[str] = []
    sizes: list[int | None] = []
    numbers: list[int] = []
    sums = [PlaceSums(place=place) for place in contents.places]
    packed = Packed(data={}, sums=sums, first=[])
    seen_volumes: set[str] = set()
    before = ""
    for image in sorted(contents.images or (), key=lambda image: (image.name or "", image.id)):
        known = _known(image)
        ids.append(packed_id(image.id))
        own.append(" ".join(map(packed_id, known[2:])))
        name = "" if image.name is None else said(image.name)
        names.append(_after(before, name))
        before = name
        sizes.append(image.size_bytes)
        facts = (image.disk_format, image.status, image.visibility, ", ".join(image.stores))
        pattern = (
            *(texts.of(said(fact or "")) for fact in facts),
            *(answers.of(_answer(answer, known, texts)) for answer in image.answers),
        )
        numbers.append(patterns.of(pattern))
        for each, answer in zip(sums, image.answers, strict=True):
            each.add(answer)
        _count(packed, image, seen_volumes)
    packed.data = {
        "places": [place.name for place in contents.places],
        "kinds": {way: kind.value for way, kind in KINDS.items()},
        "texts": list(texts.values),
        "answers": [[way, reason, *against] for way, reason, against in answers.values],
        "patterns": [list(pattern) for pattern in patterns.values],
        "images": {
            "id": "\n".join(ids),
            "own": "\n".join(own),
            "name": "\n".join(names),
            "size": sizes,
            "pattern": numbers,
        },
    }
    return packed


def _after(before: str, name: str) -> str:
    shared = 0
    for one, other in zip(before[: len(_DIGITS) - 1], name, strict=False):
        if one != other:
            break
        shared += 1
    return f"{_DIGITS[shared]}{name[shared:]}"


def _known(image: ShownImage) -> list[str]:
    """What the texts of an image name by a character: its id, its size, its volumes, and what else is its own."""
    size = "" if image.size_bytes is None else str(image.size_bytes)
    found = dict.fromkeys(image.volume_ids)
    for answer in image.answers:
        for text in (answer.reason, *(text for _, text in answer.against)):
            found |= dict.fromkeys(_OWN.findall(text))
    return [image.id, size, *(each for each in found if each not in (image.id, size))][:MOST]


def _answer(answer: Answer, known: Sequence[str], texts: _Numbers) -> tuple[int, int, tuple[tuple[int, int], ...]]:
    replaced = {each: chr(FIRST + number) for number, each in enumerate(known)}

    def number(text: str) -> int:
        return texts.of(_OWN.sub(lambda match: replaced.get(match[0], match[0]), said(text)))

    against = tuple((texts.of(rule), number(text)) for rule, text in answer.against)
    return texts.of(answer.way), number(answer.reason), against


def _count(packed: Packed, image: ShownImage, seen: set[str]) -> None:
    packed.count += 1
    packed.size_bytes += image.size_bytes or 0
    packed.by_store.update(dict.fromkeys(image.stores, 1))
    packed.by_format[image.disk_format or "not known"] += 1
    if len(packed.first) < _SHOWN_AT_ONCE:
        packed.first.append(image)
    seen.update(image.volume_ids)
    packed.image_volumes = len(seen)
