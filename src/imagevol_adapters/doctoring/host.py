"""What this host has: a way to become root, initiators, several paths, qemu-img, room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from imagevol_adapters.addresses import is_loopback
from imagevol_adapters.cinder.pools import Pool
from imagevol_adapters.ports import Attacher
from imagevol_adapters.qemu.converter import qemu_img_version
from imagevol_core import DoctorHost, ImagevolError, StoreHost

__all__ = ["host_facts", "pools_of"]

_SOCKETS = Path("/proc/net/unix")
_MULTIPATHD = ("/org/kernel/linux/storage/multipathd", "/multipathd.socket")  # older and newer releases listen there

# What drivers report as `storage_protocol`, by what os-brick needs for it.
_PROTOCOLS: Mapping[str, str] = {
    "iscsi": "iscsi",
    "iser": "iscsi",
    "fc": "fibre_channel",
    "fibre_channel": "fibre_channel",
    "nvme": "nvmeof",
    "nvmeof": "nvmeof",
    "nvme-of": "nvmeof",
    "nvme-fc": "nvmeof",
    "nvme-tcp": "nvmeof",
    "nvme-roce": "nvmeof",
    "ceph": "rbd",
    "rbd": "rbd",
    "nfs": "nfs",
}


def host_facts(
    *,
    attacher: Attacher,
    pools: Sequence[Pool] | None,
    multipath: bool,
    conversion_directory: Path,
    conversion_wanted_bytes: int,
    store_host: StoreHost | None = None,
) -> DoctorHost:
    """Look at this host.

    Args:
        attacher: connects volumes to it.
        pools: those of the backends that it must reach; None if they are not known.
        multipath: whether volumes are connected by several paths.
        conversion_directory: where images are converted.
        conversion_wanted_bytes: how much room is wanted there.
        store_host: what a cinder store of Glance needs of this host; None if no store is checked.
    """
    connector: Mapping[str, Any] = {}
    problem = None
    try:
        connector = attacher.connector()
    except ImagevolError as error:
        problem = str(error)
    named = {protocol.lower() for pool in pools or () for protocol in pool.protocols}
    address = str(connector["ip"]) if connector.get("ip") else None
    return DoctorHost(
        becomes_root=_becomes_root(store_host),
        connector_error=problem,
        address=address,
        loopback=address is not None and _is_loopback(address),
        initiators=frozenset(_initiators(connector)),
        pools=None if pools is None else len(pools),
        protocols=None if pools is None else frozenset(_PROTOCOLS[each] for each in named & _PROTOCOLS.keys()),
        other_protocols=frozenset(named - _PROTOCOLS.keys()),
        multipath=multipath,
        multipathd=_multipathd(),
        qemu_img=_qemu_img(),
        conversion_directory=str(conversion_directory),
        conversion_free_bytes=_free_bytes(conversion_directory),
        conversion_wanted_bytes=conversion_wanted_bytes,
        lock_path=store_host.lock_path if store_host else None,
        rootwrap_config=store_host.rootwrap_config if store_host else None,
        rootwrap_config_exists=store_host is not None and store_host.rootwrap_config_exists,
        privsep_helper=store_host.privsep_helper if store_host else None,
        privsep_helper_exists=store_host is not None and store_host.privsep_helper_exists,
    )


def pools_of(pools: Iterable[Pool], *, backend: str | None = None) -> tuple[Pool, ...]:
    """Give the pools of a backend.

    Args:
        pools: that Cinder's scheduler knows.
        backend: the name of its section; all of them when None.

    >>> pools = [Pool(name="node@fast#a"), Pool(name="node@slow#a")]
    >>> len(pools_of(pools)), [pool.name for pool in pools_of(pools, backend="slow")]
    (2, ['node@slow#a'])
    """
    return tuple(pool for pool in pools if backend in (None, pool.name.partition("#")[0].rpartition("@")[2]))


def _becomes_root(store_host: StoreHost | None) -> str | None:
    if os.geteuid() == 0:
        return "this process"
    if store_host is not None and store_host.privsep_helper_exists:
        return store_host.privsep_helper
    return "sudo" if shutil.which("sudo") else None


def _initiators(connector: Mapping[str, Any]) -> Iterable[str]:
    if connector.get("initiator"):
        yield "iscsi"
    if connector.get("wwpns"):
        yield "fibre_channel"
    if connector.get("nqn"):
        yield "nvmeof"
    if find_spec("rbd") is not None:
        yield "rbd"
    if shutil.which("mount.nfs", path=f"{os.environ.get('PATH', os.defpath)}:/sbin:/usr/sbin"):
        yield "nfs"


def _is_loopback(address: str) -> bool:
    try:
        return is_loopback(address)
    except ValueError:
        return False


def _multipathd() -> bool:
    """Whether multipathd can be asked: it listens, or systemd does in its place."""
    try:
        listening = _SOCKETS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(name in listening for name in _MULTIPATHD)


def _qemu_img() -> str | None:
    try:
        return ".".join(map(str, qemu_img_version()))
    except ImagevolError:
        return None


def _free_bytes(directory: Path) -> int | None:
    with suppress(OSError):
        room = os.statvfs(directory)
        if os.access(directory, os.W_OK | os.X_OK):
            return room.f_bavail * room.f_frsize
    return None
