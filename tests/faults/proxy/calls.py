"""A call to a service, and what can go wrong with it."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["FAULTS", "Call", "Fault", "dealt", "drawn", "template_of"]

_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")


def template_of(path: str) -> str:
    """The path of a URL with `ID` for each id, and without its query."""
    return _ID.sub("ID", path.partition("?")[0]).rstrip("/") or "/"


@dataclass(frozen=True, order=True)
class Call:
    """The n-th call of a kind in a procedure.

    Attributes:
        service: `keystone`, `cinder` or `glance`.
        method: of HTTP.
        template: the path of the URL, with `ID` for each id.
        number: counted from 1, of those that are alike.
    """

    service: str
    method: str
    template: str
    number: int

    def __str__(self) -> str:
        return f"{self.service} {self.method} {self.template} {self.number}"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with a call.

    Attributes:
        text: as the page shows it.
        done: whether the service gets the request.
        status: what the caller is answered in place of the service's own answer.
        headers: of that answer.
        share: how much of the answer the caller gets; 1 for all.
        then: what comes after that share: `reset`, `silence`, or `end`, as if that were all.
        body: what the caller gets in place of the service's own, with its status.
        expires: whether the token of the request is not valid any more, in this call and in all later ones.
    """

    text: str
    done: bool = False
    status: int | None = None
    headers: Mapping[str, str] | None = None
    share: float = 1
    then: str = "end"
    body: bytes | None = None
    expires: bool = False

    @property
    def stalls(self) -> bool:
        """Whether the caller must give up by itself."""
        return self.then == "silence"


FAULTS: Mapping[str, Fault] = {
    **{f"answered-{status}": Fault(text=f"answers {status}", status=status) for status in (401, 403, 404, 409, 413)},
    "answered-429": Fault(text="answers 429 with Retry-After", status=429, headers={"Retry-After": "1"}),
    **{f"answered-{status}": Fault(text=f"answers {status}", status=status) for status in (500, 503)},
    "answered-504-done": Fault(text="does it, and a proxy answers 504", status=504, done=True),
    "reset-before": Fault(text="resets the connection, and does nothing", share=0, then="reset"),
    "reset-after": Fault(text="does it, and resets the connection before the answer", done=True, share=0, then="reset"),
    "reset-within": Fault(text="resets the connection in the answer", done=True, share=0.5, then="reset"),
    "silent": Fault(text="does not answer", share=0, then="silence"),
    "silent-done": Fault(text="does it, and does not answer", done=True, share=0, then="silence"),
    "silent-within": Fault(text="begins an answer that never ends", done=True, share=0.5, then="silence"),
    "cut-json": Fault(text="answers JSON that is cut", done=True, share=0.5),
    "not-json": Fault(text="answers a page of HTML", body=b"<html><body>It works!</body></html>"),
    "expired": Fault(text="does not accept the token any more", expires=True),
}
"""What can go wrong, by name."""


def drawn(calls: Sequence[Call], most: int, dice: random.Random) -> list[Call]:
    """Draw so many at most of the calls that are alike but for their number, and keep the order."""
    kinds: dict[tuple[str, str, str], list[Call]] = {}
    for call in calls:
        kinds.setdefault((call.service, call.method, call.template), []).append(call)
    kept = {call for alike in kinds.values() for call in dice.sample(alike, min(most, len(alike)))}
    return [call for call in calls if call in kept]


def dealt(faults: Sequence[str], counts: Sequence[int], dice: random.Random) -> list[list[str]]:
    """Deal different faults for each call, so many, from decks of all of them, so that each is dealt as often."""
    deck: list[str] = []
    result = []
    for count in counts:
        hand: list[str] = []
        while len(hand) < count:
            if all(each in hand for each in deck):
                deck = [*deck, *dice.sample(faults, len(faults))]
            hand.append(deck.pop(next(place for place, each in enumerate(deck) if each not in hand)))
        result.append(hand)
    return result
