"""Starts the stores of the installed Glance on a configuration file, as Glance does, and reads what it then has."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any
from unittest import mock

from imagevol_adapters.configuration.stores import credentials, read_catalogue
from tests.upstream.asking import serve

# By name: where types are checked there is no Glance.
import_module("glance.common.config")
CONF = import_module("oslo_config.cfg").CONF
cinder_store = import_module("glance_store._drivers.cinder.store")
glance_store = import_module("glance_store")
RESERVED = import_module("glance.common.wsgi_app").RESERVED_STORES


def registered() -> dict[str, list[str]]:
    """Every option that Glance has, by group."""
    return {"DEFAULT": sorted(CONF), **{group: sorted(CONF[group]) for group in CONF._groups}}


def start(file: str) -> Any:
    """Give the stores as the running Glance has them, and whether reading them left all as it was."""
    CONF([f"--config-file={file}"], project="glance", default_config_files=[], default_config_dirs=[])
    with mock.patch.object(cinder_store.Store, "configure_add"):  # there is no Cinder
        if CONF.enabled_backends:
            glance_store.register_store_opts(CONF, reserved_stores=RESERVED)
            glance_store.create_multi_stores(CONF, reserved_stores=RESERVED)
            glance_store.verify_store()  # from now on the stores of its own are among the enabled ones
        else:
            glance_store.register_opts(CONF)
            glance_store.create_stores(CONF)
    before = registered(), dict(CONF.enabled_backends or {})
    catalogue = read_catalogue(CONF)
    given = {store: sorted(names) for store, names in credentials(CONF, catalogue).items()}
    unchanged = before == (registered(), dict(CONF.enabled_backends or {}))
    reserved = sorted(set(before[1]) & set(RESERVED))
    return {"catalogue": asdict(catalogue), "credentials": given, "unchanged": unchanged, "reserved": reserved}


def published() -> Any:
    """Give the options of glance_store's cinder driver."""
    return {
        option.name: [
            type(option).__name__,
            option.default,
            option.secret,
            [old.name for old in option.deprecated_opts],
        ]
        for option in cinder_store.Store.OPTIONS
    }


def every_option() -> Any:
    """Tell of each option of Glance, and of the libraries that it has options of, whether it is secret."""
    namespaces = ("glance", "oslo.", "keystonemiddleware")
    secret: dict[str, bool] = {}
    for entry in entry_points(group="oslo.config.opts"):
        if entry.name.startswith(namespaces):
            with suppress(ImportError):  # of a library that is not installed
                for _, options in entry.load()():
                    for option in options:
                        secret[option.dest] = secret.get(option.dest, False) or option.secret
    return secret


if __name__ == "__main__":
    logging.disable()
    serve({"start": start, "published": published, "every_option": every_option})
