"""What trying a store and looking at its host found: whether it works, and not only whether its options agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from imagevol_core.sentences import said
from imagevol_core.verdicts import Policy, Requirement, Verdict, evaluate

__all__ = ["HOST_RULES", "TRIAL_RULES", "StoreHost", "StoreTrial", "check_host", "check_trial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHost:
    """What a cinder store needs of the host that Glance runs on.

    Args:
        name: of the host.
        address: the one that the store gives to Cinder; None if the name has none.
        loopback: whether no other host reaches this one by that address.
        lock_path: where os-brick keeps its locks; None if it is not set.
        rootwrap_config: the file that the store's option names.
        rootwrap_config_exists: whether it is there.
        privsep_helper: the program by which os-brick becomes root.
        privsep_helper_exists: whether it is found.
    """

    name: str
    address: str | None
    loopback: bool
    lock_path: str | None
    rootwrap_config: str
    rootwrap_config_exists: bool
    privsep_helper: str
    privsep_helper_exists: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTrial:
    """What was found when a store was tried.

    Args:
        not_tried: why it was not; None if it was.
        sign_in_error: what Keystone or Cinder answered to the store's own credentials; None if they let it in.
        volume_types: the names of the volume types that the store's own credentials see; None if they were not asked.
        default_volume_type: the name of Cinder's default type; None if Cinder was not asked, or does not say.
        directories: where the store keeps images, and what is wrong with each; None if nothing is.
        host: of a cinder store.
    """

    not_tried: str | None = None
    sign_in_error: str | None = None
    volume_types: frozenset[str] | None = None
    default_volume_type: str | None = None
    directories: Mapping[str, str | None] = field(default_factory=dict)
    host: StoreHost | None = None

    def __post_init__(self) -> None:
        """Keep the directories as they are now."""
        object.__setattr__(self, "directories", MappingProxyType(dict(self.directories)))


def check_trial(trial: StoreTrial, *, store: str) -> tuple[Verdict, ...]:
    """Give what a trial found wrong, of the store and then of its host.

    >>> refused = StoreTrial(sign_in_error="HTTP 401")
    >>> [verdict.rule for verdict in check_trial(refused, store="fast") if verdict.faults]
    ['signs-in']
    """
    verdicts = evaluate(TRIAL_RULES[Policy.STRICT], trial, subject=store)
    return verdicts if trial.host is None else (*verdicts, *check_host(trial.host, store=store))


def check_host(host: StoreHost, *, store: str) -> tuple[Verdict, ...]:
    """Give what a cinder store lacks on its host.

    >>> host = StoreHost(name="node", address="192.0.2.7", loopback=False, lock_path=None, rootwrap_config="/r.conf",
    ...                  rootwrap_config_exists=True, privsep_helper="privsep-helper", privsep_helper_exists=True)
    >>> [verdict.rule for verdict in check_host(host, store="fast") if verdict.faults]
    ['lock-path-set']
    """
    return evaluate(HOST_RULES[Policy.STRICT], host, subject=store)


def _signs_in(trial: StoreTrial) -> tuple[bool, str]:
    if trial.sign_in_error is not None:
        return False, said(trial.sign_in_error).rstrip(".")
    if trial.volume_types is None:
        return True, "nothing was signed in to"
    return True, "Keystone and Cinder accept its credentials"


def _directories_usable(trial: StoreTrial) -> tuple[bool, str]:
    wrong = [f"{said(path)}: {said(fault)}" for path, fault in trial.directories.items() if fault is not None]
    if wrong:
        return False, "; ".join(wrong)
    return True, _listed(trial.directories) or "it has no directory"


def _listed(paths: Iterable[str]) -> str:
    return ", ".join(map(said, paths))


def _lock_path_set(host: StoreHost) -> tuple[bool, str]:
    if host.lock_path:
        return True, f"os-brick keeps its locks in {said(host.lock_path)}"
    return False, (
        "os-brick cannot connect volumes without it: set lock_path in [oslo_concurrency] to a directory that all "
        "programs on this host share"
    )


def _rootwrap_config_exists(host: StoreHost) -> tuple[bool, str]:
    if host.rootwrap_config_exists:
        return True, f"rootwrap_config is {said(host.rootwrap_config)}"
    return False, (
        f"rootwrap_config is {said(host.rootwrap_config)}, and there is no such file: install it with Glance, or set "
        "rootwrap_config to the right one"
    )


def _privsep_helper_exists(host: StoreHost) -> tuple[bool, str]:
    if host.privsep_helper_exists:
        return True, f"os-brick becomes root by {said(host.privsep_helper)}"
    return False, (
        f"os-brick becomes root by {said(host.privsep_helper)}, which is not found: install oslo.privsep, or set "
        "helper_command in [privsep_osbrick]"
    )


def _address_reachable(host: StoreHost) -> tuple[bool, str]:
    about = f"this host's name {said(host.name)}"
    if host.address is None:
        return False, f"{about} has no address, and Cinder must be given one: add it to /etc/hosts"
    if host.loopback:
        return False, (
            f"{about} resolves to {said(host.address)}, and Cinder is given that address. Backends on other hosts "
            "that export volumes to an address cannot reach this host: map the name to its address in /etc/hosts"
        )
    return True, f"Cinder is given {said(host.address)}"


_SPEC = "[multi]"
_OS_BRICK = "os_brick.initiator"

TRIAL_RULES: Mapping[Policy, tuple[Requirement[StoreTrial], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="signs-in", text="Keystone and Cinder accept its own credentials", source=_SPEC, holds=_signs_in
        ),
        Requirement(
            id="directories-usable",
            text="each of its directories is there and can be written",
            source="glance_store._drivers.filesystem",
            holds=_directories_usable,
        ),
    )
}

HOST_RULES: Mapping[Policy, tuple[Requirement[StoreHost], ...]] = {
    Policy.STRICT: (
        Requirement(
            id="lock-path-set", text="os-brick has a directory for locks", source=_OS_BRICK, holds=_lock_path_set
        ),
        Requirement(
            id="rootwrap-config-exists",
            text="the file that rootwrap_config names is there",
            source="glance_store._drivers.cinder",
            holds=_rootwrap_config_exists,
        ),
        Requirement(
            id="privsep-helper-exists",
            text="the program by which os-brick becomes root is there",
            source="oslo_privsep.priv_context",
            holds=_privsep_helper_exists,
        ),
        Requirement(
            id="address-reachable",
            text="other hosts can reach the address that the store gives to Cinder",
            source=_SPEC,
            holds=_address_reachable,
            warning=True,
        ),
    )
}
