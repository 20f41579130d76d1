"""A large job, shared out in shards: one worker at a time has a shard, and what was found is written once.

`leased` has the port `Shards`, over a board of texts and the locks of a lock service; `local` has both for the threads
of one process, `recorded` is how a shard is written, and `running` lets workers do shards and gives what they find.

A worker's lease is a lock.  It does not protect what is written: a process that stood still can wake up after another
worker took the shard.  So each claim has a number, and a record is replaced only if it still is the one that this claim
wrote.
"""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.fleet.leased import LeasedShards, ShardLost
    from imagevol_adapters.fleet.local import LocalBoard, LocalLocks, local_shards
    from imagevol_adapters.fleet.running import run_shards, work_on
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "leased": ("LeasedShards", "ShardLost"),
            "local": ("LocalBoard", "LocalLocks", "local_shards"),
            "running": ("run_shards", "work_on"),
        },
    )

__all__ = ["LeasedShards", "LocalBoard", "LocalLocks", "ShardLost", "local_shards", "run_shards", "work_on"]
