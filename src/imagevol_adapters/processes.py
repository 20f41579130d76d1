"""This process, and whether another one of this host runs, out of what the kernel shows.

What cannot be read, or does not fit together, is not known: nothing is then taken from a process that may be running.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from imagevol_core import HolderState, ProcessRecord, RunningProcess, VolumeOrigin, decide_process

__all__ = ["is_running_here", "origin", "running", "this_process"]

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")
_INTERFACES = Path("/sys/class/net")
_ENDED = ("Z", "X")  # of a zombie, for which its parent has not waited, and of one that is ending


def this_process() -> ProcessRecord | None:
    """Give the record of this process; None where /proc is not there, or is another container's."""
    try:
        if os.readlink(_PROC / "self") != str(os.getpid()):  # noqa: PTH115 - which gives no text of its own
            return None
        _, started = _status("self")
        return ProcessRecord(
            host=_host(),
            boot_id=(_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            namespaces=f"{_namespace('pid')}.{_namespace('time')}",
            pid=os.getpid(),
            started=started,
        )
    except (OSError, ValueError, IndexError):
        return None


def origin(procedure: str, image_id: str | None, *, tell_host: bool = True) -> VolumeOrigin:
    """Give what a volume that this process creates says of it from its first moment.

    Args:
        procedure: what is being done, as `VolumeOrigin` lists it.
        image_id: the image that the volume is for.
        tell_host: whether the name of this host is among it; False if users see the volume and not the host.
    """
    return VolumeOrigin(
        procedure=procedure,
        image_id=image_id,
        host=socket.gethostname() if tell_host else None,
        process=this_process(),
    )


def running(pid: int) -> RunningProcess:
    """Tell what this host knows of a process ID.

    >>> running(os.getpid()).exists
    True
    """
    try:
        os.kill(pid, 0)  # /proc may hide the processes of other users
    except (ProcessLookupError, OverflowError):
        return RunningProcess(exists=False)
    except OSError:
        pass  # it is another user's
    try:
        state, started = _status(str(pid))
    except (OSError, ValueError, IndexError):
        return RunningProcess(exists=True)
    return RunningProcess(exists=state not in _ENDED or _has_other_threads(pid), started=started)


def is_running_here(metadata: Mapping[str, str]) -> bool:
    """Tell whether the process that the metadata of a volume names certainly runs on this host.

    Args:
        metadata: of the volume.

    >>> is_running_here(origin("template", "e38f").to_volume()), is_running_here({})
    (True, False)
    """
    made_by = VolumeOrigin.from_volume(metadata)
    if made_by is None or made_by.process is None:
        return False
    state, _ = decide_process(made_by.process, here=this_process(), running=running(made_by.process.pid))
    return state is HolderState.ALIVE


def _has_other_threads(pid: int) -> bool:
    """Tell whether a thread runs in a process whose first thread has ended: the kernel shows both as a zombie.

    What cannot be read may run; a process without a directory has ended meanwhile.
    """
    try:
        threads = [thread for thread in os.listdir(_PROC / str(pid) / "task") if thread != str(pid)]  # noqa: PTH208
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(_runs(pid, thread) for thread in threads)


def _runs(pid: int, thread: str) -> bool:
    try:
        state, _ = _status(f"{pid}/task/{thread}")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except (OSError, ValueError, IndexError):
        return True
    return state not in _ENDED


def _status(process: str) -> tuple[str, int]:
    """The state of a process, and when it was started; its name, which may hold anything, stands in brackets."""
    fields = (_PROC / process / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _namespace(kind: str) -> int:
    """The number of a namespace; 0 where the kernel has no such thing."""
    with suppress(FileNotFoundError):
        return os.stat(_PROC / "self/ns" / kind).st_ino  # noqa: PTH116 - a link to no path
    return 0


def _host() -> str | None:
    """A digest of what is this host's alone, and stays when it is restarted.

    A name is not enough, nor is a machine id: both are copied with a disk image, and a network card is not.
    """
    with suppress(OSError):
        machine_id = _MACHINE_ID.read_text(encoding="ascii").strip()
        cards = sorted(
            (interface / "address").read_text(encoding="ascii").strip()
            for interface in _INTERFACES.iterdir()
            if (interface / "device").exists()
        )
        if machine_id and cards:
            return hashlib.sha256("\0".join([socket.gethostname(), machine_id, *cards]).encode()).hexdigest()[:16]
    return None
