"""What is known of a host, its services and its settings when it is checked, and how fast it was measured to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from imagevol_core.errors import InvalidFact
from imagevol_core.sentences import said

__all__ = [
    "DoctorAccess",
    "DoctorBackend",
    "DoctorFacts",
    "DoctorGlance",
    "DoctorHost",
    "DoctorService",
    "DoctorTrial",
    "Rates",
]

_MOST = 1e18
_FORMAT = 1  # of the file of rates
_SPEEDS = ("write_bytes_per_second", "read_bytes_per_second")
_TIMES = ("create_seconds", "clone_seconds", "attach_seconds", "detach_seconds", "delete_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorHost:
    """This host, as far as volumes are connected and images converted on it.

    Args:
        becomes_root: how os-brick becomes root; None if it cannot.
        connector_error: why os-brick cannot tell what Cinder must know of this host; None if it can.
        address: the one that Cinder is given; None if that is not known.
        loopback: whether no other host reaches this one by that address.
        initiators: the protocols for which this host has an initiator or a library.
        pools: how many pools the backends have that it must reach; None if Cinder does not tell.
        protocols: the protocols of these backends, as far as it is known what they need; None if Cinder does not tell.
        other_protocols: those of which it is not known.
        multipath: whether volumes are connected by several paths.
        multipathd: whether multipathd runs.
        qemu_img: the version of qemu-img; None if it is not installed.
        conversion_directory: where images are converted.
        conversion_free_bytes: how much room is there; None if it cannot be written.
        conversion_wanted_bytes: how much room is wanted.
        lock_path: where os-brick keeps its locks in the configuration of a store; None if it has none.
        rootwrap_config: the file that a store's option names; None if no store is checked.
        rootwrap_config_exists: whether it is there.
        privsep_helper: the program by which os-brick becomes root in a store; None if no store is checked.
        privsep_helper_exists: whether it is found.
    """

    becomes_root: str | None
    connector_error: str | None = None
    address: str | None = None
    loopback: bool = False
    initiators: frozenset[str] = frozenset()
    pools: int | None = None
    protocols: frozenset[str] | None = None
    other_protocols: frozenset[str] = frozenset()
    multipath: bool = False
    multipathd: bool = False
    qemu_img: str | None = None
    conversion_directory: str
    conversion_free_bytes: int | None = None
    conversion_wanted_bytes: int = 0
    lock_path: str | None = None
    rootwrap_config: str | None = None
    rootwrap_config_exists: bool = False
    privsep_helper: str | None = None
    privsep_helper_exists: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorService:
    """A service of the cloud, as it answers this host.

    Args:
        name: its type in the service catalogue.
        url: where it is; None if the catalogue does not say.
        error: why it does not answer; None if it does.
        newest: the newest version or microversion of its API that it offers; None if it does not say.
        wanted: the least that is needed; None if any will do.
        clock_seconds: how far its clock is ahead of this host's; None if it does not say.
    """

    name: str
    url: str | None = None
    error: str | None = None
    newest: str | None = None
    wanted: str | None = None
    clock_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorAccess:
    """The credentials.

    Args:
        error: why Keystone does not accept them; None if it does.
        project_id: the project that they are for; None if they are for none.
        roles: the roles that they have there; None if that is not known.
    """

    error: str | None = None
    project_id: str | None = None
    roles: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorGlance:
    """The settings of Glance that matter here; each is None if it is not known.

    Args:
        shows_locations: `show_multiple_locations`.
        insecure: whether a store does not verify certificates (`cinder_api_insecure`).
        hashing_algorithm: of the digest of new images.
    """

    shows_locations: bool | None = None
    insecure: bool | None = None
    hashing_algorithm: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorBackend:
    """The settings of a backend in a `cinder.conf`.

    Args:
        name: of its section.
        described: whether the file has that section, and Cinder is told to use it.
        schemes: `allowed_direct_url_schemes`.
        verifies_signatures: `verify_glance_signatures`.
        tenant: the project of Cinder's internal tenant; None if the file names none.
        tenant_user: its user; None if the file names none.
        needs_tenant: the options that need the internal tenant and are set.
        driver: `volume_driver`; None if the file names none.
        mixin: whether that class has ImageCloneMixin; None if it cannot be loaded on this host.
        clone_schemes: `image_clone_direct_url_schemes`, or what it is by default.
        trusted: how many projects `image_clone_trusted_projects` names.
    """

    name: str
    described: bool
    schemes: tuple[str, ...] = ()
    verifies_signatures: bool = True
    tenant: str | None = None
    tenant_user: str | None = None
    needs_tenant: tuple[str, ...] = ()
    driver: str | None = None
    mixin: bool | None = None
    clone_schemes: tuple[str, ...] = ()
    trusted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How fast a host is, as it was measured; each time and speed is None if it was not measured.

    Args:
        host: which.
        volume_type: of the volume that was measured.
        backend: the pool in which that volume was, as `host@backend#pool`.
        digests: by algorithm, the bytes a second of one core.
        write_bytes_per_second: into the device of an attached volume, flushed.
        read_bytes_per_second: from it.
        create_seconds: until a volume is available.
        clone_seconds: until a clone of it is available.
        attach_seconds: until its device is open.
        detach_seconds: until the volume is available again.
        delete_seconds: until it is gone.

    Raises:
        InvalidFact: a time or a speed is not a number that can be measured.
    """

    host: str
    volume_type: str | None = None
    backend: str | None = None
    digests: Mapping[str, float] = field(default_factory=dict, hash=False)
    write_bytes_per_second: float | None = None
    read_bytes_per_second: float | None = None
    create_seconds: float | None = None
    clone_seconds: float | None = None
    attach_seconds: float | None = None
    detach_seconds: float | None = None
    delete_seconds: float | None = None

    def __post_init__(self) -> None:
        """Keep the digests as they are now."""
        for name, value in [*self.digests.items(), *((each, getattr(self, each)) for each in (*_SPEEDS, *_TIMES))]:
            if value is not None and not (_is_number(value) and (name in _TIMES or value) and 0 <= value <= _MOST):
                raise InvalidFact(said(name), f"{said(value)[:40]} is not a time or a speed that was measured")
        object.__setattr__(self, "digests", MappingProxyType(dict(self.digests)))

    def as_dict(self) -> dict[str, Any]:
        """Give it as the JSON of a file of rates.

        >>> rates = Rates(host="node", digests={"sha256": 1.5e9}, attach_seconds=2.5)
        >>> Rates.from_dict(rates.as_dict()) == rates
        True
        """
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        return {"rates": _FORMAT, **known, "digests": dict(self.digests)}

    @classmethod
    def from_dict(cls, written: object) -> Rates:
        """Read what `as_dict` gave.

        Args:
            written: of a JSON file.  Keys that are not known are passed over.

        Raises:
            InvalidFact: it is no such JSON, or a value in it is of another kind.
        """
        if not isinstance(written, Mapping) or written.get("rates") != _FORMAT:
            raise InvalidFact("rates", f'it is not an object with "rates": {_FORMAT}; write it with `imagevol doctor`')
        texts: dict[str, Any] = {each: written.get(each) for each in ("host", "volume_type", "backend")}
        digests = written.get("digests") or {}
        if not isinstance(texts["host"], str) or not isinstance(digests, Mapping):
            raise InvalidFact("rates", "it has no host or no digests; write it with `imagevol doctor --rates FILE`")
        for name, text in texts.items():
            if text is not None and not isinstance(text, str):
                raise InvalidFact(f"rates, {name}", "it is not a string")
        numbers: dict[str, Any] = {each: written.get(each) for each in (*_SPEEDS, *_TIMES)}
        return cls(**texts, digests=digests, **numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorTrial:
    """What trying and measuring found.

    Args:
        rates: what was measured.
        hashing_algorithm: of the digest that new images get.
        volume: whether a volume was tried too.
        error: what failed with it; None if nothing did.
        same: whether what was read back was what had been written; None if it did not come to that.
    """

    rates: Rates
    hashing_algorithm: str
    volume: bool = False
    error: str | None = None
    same: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFacts:
    """All that `diagnose` looks at; what is None or empty is not looked at.

    Args:
        host: this host.
        services: of the cloud.
        access: the credentials.
        glance: the settings of Glance.
        backend: those of a backend.
        trial: what was measured.
    """

    host: DoctorHost | None = None
    services: tuple[DoctorService, ...] = ()
    access: DoctorAccess | None = None
    glance: DoctorGlance | None = None
    backend: DoctorBackend | None = None
    trial: DoctorTrial | None = None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
