"""A large job, shared out in shards: one worker at a time has a shard, and what was found is written once.

`leased` has the port `Shards`, over a board of texts and the locks of a lock service.  `local` has both for the
threads of one process, and `boards` for many hosts, in Redis or etcd, whose URL `board_urls` checks; `patient` asks a
board again that does not answer.  `workers` lists the workers that live, and `limits` has what all of them together
may use, which `limited` work keeps to.  `jobs` lists the jobs, which `feeding` brings to their end; `looking` has both
for an operator.  `recorded` and `limit_records` are how all this is written, and `readable` passes over what cannot be
read.  `running` offers shards and gives what was found, and `serving` is a worker.  `offering` is how a job is offered
to the workers of many hosts, `untrusted` takes apart what a shard asks for and what came of it, `guarding` asks for the
shard before each change of a service, and `journalled` offers the images of a journal.

A worker's lease is a lock.  It does not protect what is written: a process that stood still can wake up after another
worker took the shard.  So each claim has a number, and a record is replaced only if it still is the one that this claim
wrote.
"""

from typing import TYPE_CHECKING

from imagevol_adapters.lazy_imports import lazy_names

if TYPE_CHECKING:
    from imagevol_adapters.fleet.boards import EtcdBoard, Fleet, RedisBoard, fleet_from_url, shards_from_url
    from imagevol_adapters.fleet.feeding import AHEAD, run_job
    from imagevol_adapters.fleet.guarding import asking, guarded
    from imagevol_adapters.fleet.jobs import JobCancelled, JobRecord, Jobs
    from imagevol_adapters.fleet.leased import LeasedShards, ShardLost
    from imagevol_adapters.fleet.limited import limited
    from imagevol_adapters.fleet.limits import EVERY_BACKEND, BoardLimits, remove_unreadable_limits
    from imagevol_adapters.fleet.local import LocalBoard, LocalLocks, local_shards
    from imagevol_adapters.fleet.looking import JobState, cancel_job, look_at_jobs, retry_shards
    from imagevol_adapters.fleet.offering import JobOffer
    from imagevol_adapters.fleet.patient import PatientBoard
    from imagevol_adapters.fleet.running import run_shards, work_on
    from imagevol_adapters.fleet.serving import serve, worker_name
    from imagevol_adapters.fleet.workers import LeasedWorkers
else:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "boards": ("EtcdBoard", "Fleet", "RedisBoard", "fleet_from_url", "shards_from_url"),
            "feeding": ("AHEAD", "run_job"),
            "guarding": ("asking", "guarded"),
            "jobs": ("JobCancelled", "JobRecord", "Jobs"),
            "leased": ("LeasedShards", "ShardLost"),
            "limited": ("limited",),
            "limits": ("EVERY_BACKEND", "BoardLimits", "remove_unreadable_limits"),
            "local": ("LocalBoard", "LocalLocks", "local_shards"),
            "looking": ("JobState", "cancel_job", "look_at_jobs", "retry_shards"),
            "offering": ("JobOffer",),
            "patient": ("PatientBoard",),
            "running": ("run_shards", "work_on"),
            "serving": ("serve", "worker_name"),
            "workers": ("LeasedWorkers",),
        },
    )

__all__ = [
    "AHEAD",
    "EVERY_BACKEND",
    "BoardLimits",
    "EtcdBoard",
    "Fleet",
    "JobCancelled",
    "JobOffer",
    "JobRecord",
    "JobState",
    "Jobs",
    "LeasedShards",
    "LeasedWorkers",
    "LocalBoard",
    "LocalLocks",
    "PatientBoard",
    "RedisBoard",
    "ShardLost",
    "asking",
    "cancel_job",
    "fleet_from_url",
    "guarded",
    "limited",
    "local_shards",
    "look_at_jobs",
    "remove_unreadable_limits",
    "retry_shards",
    "run_job",
    "run_shards",
    "serve",
    "shards_from_url",
    "work_on",
    "worker_name",
]
