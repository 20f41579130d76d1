"""Where an image's own tables say that its data lies in the file.

qemu-img reads zeros for data that lies after the end of a file.  An image that was cut short would become a disk with
holes, so its tables are compared with its length first.  The tables are read as qemu reads them: what qemu never reads
may be missing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO

from imagevol_adapters.blockmaps import qcow2, vdi, vhd, vhdx, vmdk
from imagevol_adapters.blockmaps.reading import TableError, TableReader

__all__ = ["needed_bytes"]

_TABLES: Mapping[str, Callable[[TableReader], None]] = {
    "qcow2": qcow2.visit,
    "vdi": vdi.visit,
    "vhd": vhd.visit,
    "vhdx": vhdx.visit,
    "vmdk": vmdk.visit,
}


def needed_bytes(file: BinaryIO, *, name: str, size_bytes: int) -> int | None:
    r"""Tell how long a file must be to hold all the data that its tables name.

    No more is read than the tables, once each.

    Args:
        file: the image.
        name: of its format, as the inspectors call it.
        size_bytes: how long it is.

    Returns:
        The length in bytes; None if the format has no such tables, or they cannot be read.

    >>> import io
    >>> needed_bytes(io.BytesIO(b"QFI\xfb"), name="qcow2", size_bytes=4)
    """
    if name not in _TABLES:
        return None
    reader = TableReader(file, size_bytes)
    try:
        _TABLES[name](reader)
    except (TableError, struct.error):
        return None
    return reader.needed_bytes
