"""What can be the id of a volume, an attachment or an image, so that it can be put into the URL of a request.

`..`, `ID/metadata` and `ID?force=1` would be requests for something else, and `detail` and `summary` are the names of
lists.  An id that cannot be one is not asked for: nothing has it.
"""

from __future__ import annotations

import re

__all__ = ["can_be_id"]

_ID = re.compile(r"(?=[A-Za-z_-]*[0-9])[0-9A-Za-z_-]{1,255}")


def can_be_id(text: str) -> bool:
    """Tell whether a service can have given something this id: letters, digits, `-` and `_`, and at least one digit.

    Cinder and Glance give UUIDs.  Some clouds have older ids, and the names that their URLs know have no digit.

    >>> texts = ("9a1b6b0c-93e4-4a3c-a2a5-3d5bd2d3b6a1", "vol-0000001", "detail", "..", "7/x")
    >>> [can_be_id(text) for text in texts]
    [True, True, False, False, False]
    """
    return bool(_ID.fullmatch(text))
