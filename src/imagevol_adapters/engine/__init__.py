"""The data plane: a stream into a device, and a device as a stream.

The engine calls no service and decides nothing.  Reading, digests and writing go on at the same time, in memory that is
bounded and used again; zeros are found cheaply and need no writing where the target allows it.

`sources` has what can be written, `writing` brings it to a device, `reading` brings it back, `limits` has the rate, the
progress and the report.  Beneath them `parts` has the memory and the threads that share it, `zeros` finds the zeros,
`clearing` clears them and reads back, and `digests` makes several digests side by side.  `threads` has the threads,
which are real under eventlet too.
"""

from imagevol_adapters.engine.clearing import clear_device
from imagevol_adapters.engine.digests import BLAKE3, Digests, has_blake3, verified
from imagevol_adapters.engine.limits import Limits, Progress, TransferProgress, TransferReport
from imagevol_adapters.engine.parts import PART_BYTES, POOL_BYTES
from imagevol_adapters.engine.reading import digest_device, read_device, verify_device
from imagevol_adapters.engine.sources import Hole, Source, pieces
from imagevol_adapters.engine.steps import Steps
from imagevol_adapters.engine.writing import Observer, StreamWriter, clear_rest, write_stream

__all__ = [
    "BLAKE3",
    "PART_BYTES",
    "POOL_BYTES",
    "Digests",
    "Hole",
    "Limits",
    "Observer",
    "Progress",
    "Source",
    "Steps",
    "StreamWriter",
    "TransferProgress",
    "TransferReport",
    "clear_device",
    "clear_rest",
    "digest_device",
    "has_blake3",
    "pieces",
    "read_device",
    "verified",
    "verify_device",
    "write_stream",
]
