"""What is wrong with a store when Glance starts, judged beside the other stores of that Glance."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from oslo_config import cfg

from imagevol_adapters.configuration.stores import credentials
from imagevol_adapters.gathering import gather_catalogue
from imagevol_adapters.gathering.configured_stores import ConfiguredStores
from imagevol_adapters.store_trials import host_of
from imagevol_core import ImagevolError, Store, StoreCatalogue, Verdict, check_host, check_stores

__all__ = ["faults_at_start"]

LOG = logging.getLogger(__name__)


class VolumeTypes(Protocol):
    """Cinder, as far as volume types are asked for; `CinderVolumes` is one."""

    def volume_types(self) -> tuple[str, ...]:
        """Give the names of all volume types."""

    def default_volume_type(self) -> str | None:
        """Give the name of the type of volumes that name none."""


def faults_at_start(
    conf: cfg.ConfigOpts, store: Store, *, multi: bool, cinder: Callable[[], VolumeTypes] | None
) -> tuple[Verdict, ...]:
    """Give the faults that keep a store from adding and deleting images; what else is wrong is logged.

    Args:
        conf: of the Glance that starts.
        store: named as its section.
        multi: whether it is one of `enabled_backends`.
        cinder: gives Cinder as the store's own credentials see it; None if it has none.
    """
    for verdict in check_host(host_of(conf, section=store.name), store=store.name):
        if verdict.faults:
            LOG.warning("Store %s: %s", store.name, verdict.text)
    types: Collection[str] | None = None
    asked: VolumeTypes | None = None
    if cinder is not None:
        try:
            asked = cinder()
            types = asked.volume_types()
        except ImagevolError as error:
            LOG.warning("Store %s: its volume type is not checked: %s", store.name, error)
    if types is None:  # nothing is known to be wrong with its own type
        types = tuple(filter(None, [store.volume_type]))
    catalogue, given = _configured(conf, store, multi=multi, cinder=asked)
    check = check_stores(catalogue, credentials=given, volume_types=types)
    wrong = [verdict for verdict in check.verdicts if verdict.subject == store.name and verdict.faults]
    disabling = tuple(verdict for verdict in check.disabling if verdict.subject == store.name)
    for verdict in wrong:
        if verdict not in disabling:
            level = logging.WARNING if verdict.ok else logging.ERROR
            LOG.log(level, "Store %s: %s: %s", store.name, verdict.rule, verdict.text)
    return disabling


def _configured(
    conf: cfg.ConfigOpts, store: Store, *, multi: bool, cinder: VolumeTypes | None
) -> tuple[StoreCatalogue, Mapping[str, Collection[str]]]:
    """All stores of this Glance and the credentials that each has: some faults show only if they are compared."""

    def default_type() -> str | None:
        return cinder.default_volume_type() if cinder else None

    if multi:
        try:
            catalogue = gather_catalogue(ConfiguredStores(conf), default_type=default_type, required=False)
            if catalogue.get(store.name) is not None:
                return catalogue, credentials(conf, catalogue)
        except ImagevolError as error:  # what is wrong with another store disables that one
            LOG.warning("Store %s is not compared with the other stores: %s", store.name, error)
    alone = StoreCatalogue(stores=(store,), multi=multi, default=store.name)
    return alone, credentials(conf, alone)
