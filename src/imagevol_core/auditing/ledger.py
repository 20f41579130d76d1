"""What an audit keeps of a million images and volumes: some 80 bytes of each pair, and no object for any of them.

An id is 16 bytes in one long row, and is found by a table of numbers.  What is known of a location is a few numbers in
rows of their own.  What is not as usual, as an id that is no UUID, is kept beside them as it is.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from imagevol_core.auditing.facts import Claim
from imagevol_core.facts import Digest, Image, ImageLocation
from imagevol_core.locations import CinderLocation

__all__ = ["IdTable", "Ledger"]

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_WIDTH = 16
_LARGEST = (1 << 63) - 1
_UNKNOWN = -1  # of a size
_ELSEWHERE = -2


class IdTable:
    """Numbers ids from 0, in the order in which they come; 24 bytes for each that is a UUID.

    >>> table = IdTable()
    >>> usual = "9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1"
    >>> table.add(usual), table.add("odd"), table.add(usual)
    (0, 1, 0)
    >>> table.text(1), table.number("another"), len(table)
    ('odd', None, 2)
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._keys = bytearray()
        self._slots = array("I", bytes(4 * 1024))  # each a number and 1, or 0 where it is free
        self._odd: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._length = 0

    def __len__(self) -> int:
        """Give how many there are."""
        return self._length

    def add(self, text: str) -> int:
        """Give the number of an id, which may be new."""
        if not _UUID.fullmatch(text):
            number = self._odd.setdefault(text, self._length)
            if number == self._length:
                self._texts[number] = text
                self._append(bytes(_WIDTH))
            return number
        key = bytes.fromhex(text.replace("-", ""))
        slot = self._slot(key)
        if self._slots[slot]:
            return self._slots[slot] - 1
        number = self._length
        self._append(key)
        self._slots[slot] = number + 1
        if 3 * self._length > 2 * len(self._slots):
            self._grow()
        return number

    def number(self, text: str) -> int | None:
        """Give the number of an id; None if it has not come."""
        if not _UUID.fullmatch(text):
            return self._odd.get(text)
        found = self._slots[self._slot(bytes.fromhex(text.replace("-", "")))]
        return found - 1 if found else None

    def text(self, number: int) -> str:
        """Give the id that has a number."""
        if number in self._texts:
            return self._texts[number]
        digits = self._keys[_WIDTH * number : _WIDTH * (number + 1)].hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _append(self, key: bytes) -> None:
        self._keys += key
        self._length += 1

    def _slot(self, key: bytes) -> int:
        """Where a key is, or would be."""
        slots, keys, mask = self._slots, self._keys, len(self._slots) - 1
        slot = hash(key) & mask  # of which a user who chooses ids cannot know the seed
        while found := slots[slot]:
            if keys[_WIDTH * (found - 1) : _WIDTH * found] == key:
                break
            slot = (slot + 1) & mask
        return slot

    def _grow(self) -> None:
        size = 2 * len(self._slots)
        slots, keys, mask = array("I", bytes(4 * size)), self._keys, size - 1
        for found in self._slots:
            if found:
                slot = hash(bytes(keys[_WIDTH * (found - 1) : _WIDTH * found])) & mask
                while slots[slot]:
                    slot = (slot + 1) & mask
                slots[slot] = found
        self._slots = slots


@dataclass(frozen=True, slots=True)
class _Place:
    """What the locations of many images have alike."""

    owner: str | None
    url_store: str | None
    said_store: str | None
    others: int
    visibility: str | None


@dataclass(slots=True)
class _Marks:
    """Ids, and for each a byte of marks."""

    ids: IdTable = field(default_factory=IdTable)
    marks: bytearray = field(default_factory=bytearray)

    def add(self, text: str) -> int:
        number = self.ids.add(text)
        if number == len(self.marks):
            self.marks.append(0)
        return number

    def mark(self, text: str, bit: int) -> bool:
        """Set a mark; tell whether it was new."""
        number = self.add(text)
        before = self.marks[number]
        self.marks[number] = before | bit
        return not before & bit

    def has(self, text: str, bit: int) -> bool:
        number = self.ids.number(text)
        return number is not None and bool(self.marks[number] & bit)


_LISTED, _SETTLED, _HOLDS_IMAGE, _IMPORTING = 1, 2, 4, 8


class Ledger:
    """The images and volumes that were listed, and which locations name which volumes."""

    def __init__(self) -> None:
        """Begin without any."""
        self._images = _Marks()
        self._volumes = _Marks()
        self._heads = array("I")  # by volume, its last claim and 1, or 0 where there is none
        self._claimants = array("I")  # by claim, as the next four
        self._before = array("I")  # the claim before on the same volume and 1, or 0
        self._sizes = array("q")
        self._at = array("I")
        self._places: dict[_Place, int] = {}
        self._kinds: list[_Place] = []
        self._large: dict[int, int] = {}
        self._digests: dict[int, Digest] = {}

    def list_image(self, image_id: str) -> bool:
        """Note that an image was listed; tell whether it is the first time."""
        return self._images.mark(image_id, _LISTED)

    def settle_image(self, image_id: str) -> None:
        """Note that all locations of an image are known."""
        self._images.mark(image_id, _SETTLED)

    def import_image(self, image_id: str) -> None:
        """Note that Glance is importing or copying an image."""
        self._images.mark(image_id, _IMPORTING)

    def image_importing(self, image_id: str | None) -> bool:
        """Tell whether Glance is importing or copying an image."""
        return image_id is not None and self._images.has(image_id, _IMPORTING)

    def image_listed(self, image_id: str | None) -> bool:
        """Tell whether an image was listed."""
        return image_id is not None and self._images.has(image_id, _LISTED)

    def image_settled(self, image_id: str | None) -> bool:
        """Tell whether all locations of an image are known."""
        return image_id is not None and self._images.has(image_id, _SETTLED)

    def list_volume(self, volume_id: str) -> bool:
        """Note that a volume was listed; tell whether it is the first time."""
        return self._volumes.mark(volume_id, _LISTED)

    def volume_listed(self, volume_id: str) -> bool:
        """Tell whether a volume was listed."""
        return self._volumes.has(volume_id, _LISTED)

    def hold_image(self, volume_id: str) -> None:
        """Note that a volume holds an image, or says so."""
        self._volumes.mark(volume_id, _HOLDS_IMAGE)

    def holds_image(self, volume_id: str) -> bool:
        """Tell whether a volume holds an image, or says so."""
        return self._volumes.has(volume_id, _HOLDS_IMAGE)

    def claim(
        self, image: Image, location: ImageLocation, named: CinderLocation, *, others: int, digest: Digest | None
    ) -> None:
        """Note that a location of an image names a volume.

        Args:
            image: whose location.
            location: as Glance has it.
            named: what it names.
            others: how many other locations the image has.
            digest: of the image, if it is compared with anything.
        """
        volume = self._volumes.add(named.volume_id)
        self._heads.extend([0] * (volume + 1 - len(self._heads)))
        claim = len(self._claimants)
        place = _Place(image.owner, named.store, location.metadata.get("store"), others, image.visibility)
        kind = self._places.setdefault(place, len(self._kinds))
        if kind == len(self._kinds):
            self._kinds.append(place)
        self._claimants.append(self._images.add(image.id))
        self._before.append(self._heads[volume])
        self._heads[volume] = claim + 1
        self._at.append(kind)
        size = image.size_bytes
        self._sizes.append(_UNKNOWN if size is None else _ELSEWHERE if size > _LARGEST else size)
        if size is not None and size > _LARGEST:
            self._large[claim] = size
        if digest is not None:
            self._digests[claim] = digest

    def claims(self, volume_id: str) -> list[Claim]:
        """Give what was noted of the locations that name a volume, in the order of images and URLs."""
        number = self._volumes.ids.number(volume_id)
        return [] if number is None else self._of(number)

    def unlisted(self) -> Iterator[tuple[str, list[Claim]]]:
        """Give the volumes that locations name and that were not listed."""
        for number, mark in enumerate(self._volumes.marks):
            if not mark & _LISTED and (claims := self._of(number)):
                yield self._volumes.ids.text(number), claims

    def _of(self, volume: int) -> list[Claim]:
        found: list[Claim] = []
        claim = self._heads[volume] if volume < len(self._heads) else 0
        while claim:
            found.append(self._read(claim - 1, volume))
            claim = self._before[claim - 1]
        return sorted(found, key=lambda each: (each.image_id, each.url))

    def _read(self, claim: int, volume: int) -> Claim:
        place, size = self._kinds[self._at[claim]], self._sizes[claim]
        named = CinderLocation(store=place.url_store, volume_id=self._volumes.ids.text(volume))
        return Claim(
            image_id=self._images.ids.text(self._claimants[claim]),
            owner=place.owner,
            size_bytes=None if size == _UNKNOWN else self._large[claim] if size == _ELSEWHERE else size,
            digest=self._digests.get(claim),
            url=str(named),  # which has one spelling
            url_store=place.url_store,
            said_store=place.said_store,
            others=place.others,
            visibility=place.visibility,
        )
