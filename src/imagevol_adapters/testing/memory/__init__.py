"""Volumes, images, their locations, attachments, locks and shards in memory, which behave as the real services do.

They pass the conformance suite of this kit, as the real ones do.  They are as slow as a service may be: a volume stays
`creating` until it is waited for, so that a procedure that forgets to wait is found out.  What exists is in public
dictionaries, for a test to look at and to alter.

>>> from imagevol_adapters.ports import AccessMode
>>> volumes = MemoryVolumes()
>>> attacher, images = MemoryAttacher(volumes=volumes), MemoryImages(volumes=volumes)
>>> volume = volumes.wait(volumes.create(size_gib=1, name="data").id)
>>> attachment = volumes.attach(volume.id, connector=attacher.connector(), mode=AccessMode.WRITE)
>>> with attacher.open(attachment, mode=AccessMode.WRITE) as device:
...     device.write(0, memoryview(b"bytes"))
5
"""

from imagevol_adapters.testing.memory.attacher import MemoryAttacher
from imagevol_adapters.testing.memory.device import MemoryDevice
from imagevol_adapters.testing.memory.images import MemoryImages
from imagevol_adapters.testing.memory.locations import MemoryLocations
from imagevol_adapters.testing.memory.locks import MemoryLock, MemoryLocks
from imagevol_adapters.testing.memory.shards import MemoryBoard, MemoryShards, MemoryWorkers
from imagevol_adapters.testing.memory.store_copies import MemoryStoreCopies
from imagevol_adapters.testing.memory.volumes import MemoryVolumes

__all__ = [
    "MemoryAttacher",
    "MemoryBoard",
    "MemoryDevice",
    "MemoryImages",
    "MemoryLocations",
    "MemoryLock",
    "MemoryLocks",
    "MemoryShards",
    "MemoryStoreCopies",
    "MemoryVolumes",
    "MemoryWorkers",
]
