"""What a host needs to connect volumes and to convert images, and what the services of its cloud must offer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from imagevol_core.checks import Check
from imagevol_core.doctor.facts import DoctorHost, DoctorService
from imagevol_core.sentences import amount, duration, said
from imagevol_core.verdicts import Policy

__all__ = ["DOCTOR_HOST_RULES", "DOCTOR_SERVICE_RULES"]

_SAN = frozenset({"iscsi", "fibre_channel", "nvmeof"})
_CLOCK_SECONDS = 5  # an answer's Date counts whole seconds, and takes a while to arrive
_VERSION = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})")


# This host


def _becomes_root(host: DoctorHost) -> tuple[bool, str]:
    if host.becomes_root is None:
        return False, "connecting a volume needs root, and this user can become root neither by sudo nor by privsep"
    return True, f"os-brick works as root through {said(host.becomes_root)}"


def _connector_readable(host: DoctorHost) -> tuple[bool, str]:
    if host.connector_error is not None:
        return False, said(host.connector_error).removesuffix(".")
    return True, "os-brick tells what Cinder must know of this host"


def _pools_known(host: DoctorHost) -> tuple[bool, str]:
    if host.pools is None:
        return True, "Cinder does not tell these credentials its pools"
    text = f"the backends have {amount(host.pools, 'pool') if host.pools else 'no pools'}"
    return host.pools > 0, f"{text} that Cinder's scheduler knows"


def _initiators_present(host: DoctorHost) -> tuple[bool, str]:
    if host.protocols is None or host.pools == 0:
        return True, f"the protocols of the backends are not known; this host has {_named(host.initiators)}"
    missing = sorted(host.protocols - host.initiators)
    if missing:
        return False, f"the backends use {_named(host.protocols)}, and this host has nothing for {_named(missing)}"
    others = host.other_protocols
    unknown = f"; what they need on a host is not known of {_named(others)}" if others else ""
    return True, f"the backends use {_named(host.protocols | others)}{unknown}"


def _multipath_runs(host: DoctorHost) -> tuple[bool, str]:
    if host.multipath and not host.multipathd:
        return False, "volumes are connected by several paths, and multipathd does not run"
    return True, f"multipathd {'runs' if host.multipathd else 'is not needed'}"


def _multipath_used(host: DoctorHost) -> tuple[bool, str]:
    over = sorted(_SAN.intersection(host.protocols or ()))
    if over and not host.multipath:
        return False, f"the backends use {_named(over)}, and volumes are connected by one path only"
    if host.multipath:
        return True, "volumes are connected by several paths"
    known = host.protocols is not None and host.pools != 0
    return True, "no backend has several paths" if known else "the protocols of the backends are not known"


def _address_known(host: DoctorHost) -> tuple[bool, str]:
    if host.address is None:
        return False, "this host's name has no address"
    if host.loopback:
        return False, f"Cinder is given {said(host.address)}, by which no other host reaches this one"
    return True, f"Cinder is given {said(host.address)}"


def _qemu_img_present(host: DoctorHost) -> tuple[bool, str]:
    if host.qemu_img is None:
        return False, "qemu-img is not installed, so only raw images can be stored"
    return True, f"qemu-img has version {said(host.qemu_img)}"


def _conversion_space(host: DoctorHost) -> tuple[bool, str]:
    where, free, wanted = said(host.conversion_directory), host.conversion_free_bytes, host.conversion_wanted_bytes
    if free is None:
        return False, f"images are converted in {where}, which this user cannot write to"
    return free >= wanted, f"{where} has {_size(free)} free, and {_size(wanted)} are wanted"


def _lock_path_set(host: DoctorHost) -> tuple[bool, str]:
    if host.rootwrap_config is None:
        return True, "no store is checked"
    return bool(host.lock_path), f"lock_path of [oslo_concurrency] is {said(host.lock_path or 'not set')}"


def _rootwrap_present(host: DoctorHost) -> tuple[bool, str]:
    if host.rootwrap_config is None:
        return True, "no store is checked"
    exists = "" if host.rootwrap_config_exists else ", and there is no such file"
    return host.rootwrap_config_exists, f"rootwrap_config is {said(host.rootwrap_config)}{exists}"


def _privsep_present(host: DoctorHost) -> tuple[bool, str]:
    if host.privsep_helper is None:
        return True, "no store is checked"
    found = "" if host.privsep_helper_exists else ", which is not found"
    return host.privsep_helper_exists, f"the store becomes root by {said(host.privsep_helper)}{found}"


def _tells_pools(host: DoctorHost) -> bool:
    return host.pools is not None


def _tells_protocols(host: DoctorHost) -> bool:
    return host.protocols is not None and host.pools != 0


def _tells_paths(host: DoctorHost) -> bool:
    return host.multipath or _tells_protocols(host)


def _of_a_store(host: DoctorHost) -> bool:
    return host.rootwrap_config is not None


def _with_privsep(host: DoctorHost) -> bool:
    return host.privsep_helper is not None


# The services


def _tells_time(service: DoctorService) -> bool:
    return service.clock_seconds is not None


def _answers(service: DoctorService) -> tuple[bool, str]:
    if service.error is not None:
        return False, said(service.error).removesuffix(".")
    return True, f"it answers at {said(service.url)}"


def _microversion(service: DoctorService) -> tuple[bool, str]:
    offered = f"it offers API {said(service.newest)}" if service.newest else "it does not say which API it offers"
    if service.wanted is None:
        return True, offered
    newest, wanted = _version(service.newest), _version(service.wanted)
    return (
        newest is not None and wanted is not None and newest >= wanted,
        f"{offered}; {said(service.wanted)} is needed",
    )


def _clock_agrees(service: DoctorService) -> tuple[bool, str]:
    ahead = service.clock_seconds
    if ahead is None:
        return True, "it does not tell its time"
    if abs(ahead) <= _CLOCK_SECONDS:
        return True, f"its clock and this host's agree within {duration(_CLOCK_SECONDS)}"
    side = "ahead of" if ahead > 0 else "behind"
    return False, f"its clock is {duration(abs(ahead))} {side} this host's"


def _encrypted(service: DoctorService) -> tuple[bool, str]:
    try:
        url = urlsplit(str(service.url))
        scheme, name = url.scheme, str(url.hostname)
    except ValueError:
        return False, "its URL cannot be read"
    if scheme == "https":
        return True, "what is sent to it cannot be read on the way"
    if _is_this_host(name):
        return True, f"its URL begins with {said(scheme)}, and what is sent to it does not leave this host"
    return False, f"its URL begins with {said(scheme) or 'nothing'}: passwords and image data can be read on the way"


def _is_this_host(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:  # a name, which may be that of any host
        return False


def _named(protocols: Iterable[str]) -> str:
    return ", ".join(sorted(map(said, protocols))) or "none"


def _size(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB"


def _version(text: str | None) -> tuple[int, ...] | None:
    found = _VERSION.fullmatch(str(text))
    return tuple(map(int, found.groups())) if found else None


_OURS = "imagevol"
_OS_BRICK = "os_brick.initiator"

DOCTOR_HOST_RULES: Mapping[Policy, tuple[Check[DoctorHost], ...]] = {
    Policy.STRICT: (
        Check(
            id="host-becomes-root",
            text="os-brick can become root",
            source="oslo_privsep.priv_context",
            holds=_becomes_root,
            next="Run the command as root, install sudo, or set helper_command in [privsep_osbrick].",
        ),
        Check(
            id="host-connector",
            text="os-brick can tell what Cinder must know of this host",
            source=_OS_BRICK,
            holds=_connector_readable,
            next="Run the command as root, and repair what the line says.",
        ),
        Check(
            id="host-pools",
            text="Cinder's scheduler knows a pool of the backends",
            source="cinder.scheduler.host_manager",
            holds=_pools_known,
            looked=_tells_pools,
            look="Use the credentials of an administrator.",
            next="Check --backend, and that cinder-volume runs: `openstack volume service list`.",
        ),
        Check(
            id="host-initiators",
            text="the host has an initiator or a library for each protocol of the backends",
            source=_OS_BRICK,
            holds=_initiators_present,
            looked=_tells_protocols,
            look="Use the credentials of an administrator, and start cinder-volume.",
            next="Install open-iscsi, nvme-cli, nfs-common or python3-rbd, or a Fibre Channel adapter.",
        ),
        Check(
            id="host-multipathd",
            text="multipathd runs if volumes are connected by several paths",
            source=_OS_BRICK,
            holds=_multipath_runs,
            next="Start multipathd: `systemctl enable --now multipathd`.",
        ),
        Check(
            id="host-multipath",
            text="volumes of a storage network are connected by several paths",
            source=_OS_BRICK,
            holds=_multipath_used,
            warning=True,
            looked=_tells_paths,
            look="Use the credentials of an administrator, and start cinder-volume.",
            next="Install multipath-tools, and use --multipath, cinder_use_multipath of the store, or "
            "use_multipath_for_image_xfer of the backend.",
        ),
        Check(
            id="host-address",
            text="other hosts can reach the address that Cinder is given",
            source=_OURS,
            holds=_address_known,
            warning=True,
            next="Map the name of this host to its address in /etc/hosts, or use --my-ip.",
        ),
        Check(
            id="host-qemu-img",
            text="qemu-img is installed",
            source=_OURS,
            holds=_qemu_img_present,
            next="Install qemu-utils.",
        ),
        Check(
            id="host-conversion-space",
            text="there is room to convert images",
            source="cinder.image.image_utils.check_available_space",
            holds=_conversion_space,
            next="Free some space there, or choose another directory: TMPDIR, or image_conversion_dir of cinder.conf.",
        ),
        Check(
            id="host-lock-path",
            text="os-brick has a directory for locks in the configuration of a store",
            source=_OS_BRICK,
            holds=_lock_path_set,
            looked=_of_a_store,
            look="Give the name of a store with --store.",
            next="Set lock_path in [oslo_concurrency] to a directory that all programs on this host share.",
        ),
        Check(
            id="host-rootwrap",
            text="the file that rootwrap_config of a store names is there",
            source="glance_store._drivers.cinder",
            holds=_rootwrap_present,
            looked=_of_a_store,
            look="Give the name of a store with --store.",
            next="Install the file with Glance, or set rootwrap_config to the right one.",
        ),
        Check(
            id="host-privsep",
            text="the program by which a store becomes root is there",
            source="oslo_privsep.priv_context",
            holds=_privsep_present,
            looked=_with_privsep,
            look="Give the name of a store with --store.",
            next="Install oslo.privsep, or set helper_command in [privsep_osbrick].",
        ),
    )
}


DOCTOR_SERVICE_RULES: Mapping[Policy, tuple[Check[DoctorService], ...]] = {
    Policy.STRICT: (
        Check(
            id="service-answers",
            text="the service answers",
            source=_OURS,
            holds=_answers,
            gate=True,
            next="Check the service catalogue, the region and the interface, and that the service runs.",
        ),
        Check(
            id="service-microversion",
            text="the service offers the API version that is needed",
            source=_OURS,
            holds=_microversion,
            next="Upgrade the service.",
        ),
        Check(
            id="service-clock",
            text=f"the clocks of the service and of this host agree within {_CLOCK_SECONDS} seconds",
            source=_OURS,
            holds=_clock_agrees,
            warning=True,
            looked=_tells_time,
            next="Synchronize the clocks of both hosts, for example with chrony.",
        ),
        Check(
            id="service-encrypted",
            text="the service is reached over TLS, or on this host",
            source=_OURS,
            holds=_encrypted,
            warning=True,
            next="Use an https endpoint, or an interface that only the operator's network reaches.",
        ),
    )
}
