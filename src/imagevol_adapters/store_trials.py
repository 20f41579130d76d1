"""Trying the stores of a configuration: signing in, asking for volume types, looking at directories and this host."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oslo_config import cfg

from imagevol_adapters.addresses import address_of, is_loopback
from imagevol_adapters.cinder.service_user import has_service_user, service_volumes
from imagevol_adapters.configuration.stores import options_of, section_of, value_of
from imagevol_core import ImagevolError, Store, StoreCatalogue, StoreHost, StoreTrial

__all__ = ["host_of", "try_store"]

_ANSWER_SECONDS = 20
_HELPER = "privsep-helper"
_DATADIRS = ("filesystem_store_datadir", "filesystem_store_datadirs")
_NO_CREDENTIALS = "it has no credentials of its own: Glance uses the token of each request"


def try_store(conf: cfg.ConfigOpts, store: Store, catalogue: StoreCatalogue) -> StoreTrial:
    """Try one store, without changing anything.

    Args:
        conf: what `configuration.load` gives.
        store: one of the catalogue.
        catalogue: what `configuration.read_catalogue` makes of it.

    Raises:
        InvalidConfiguration: a value is malformed.
    """
    section = section_of(store, catalogue)
    if store.is_cinder:
        return _try_cinder(conf, section)
    trials: dict[str, Callable[[cfg.ConfigOpts, str], StoreTrial]] = {"file": _try_file}
    found = trials.get(store.kind)
    if found is None:
        return StoreTrial(not_tried=f"imagevol cannot try a store of kind {store.kind}")
    return found(conf, section)


def host_of(conf: cfg.ConfigOpts, *, section: str) -> StoreHost:
    """Look at what a cinder store needs of this host.

    Args:
        conf: what `configuration.load` gives, or the configuration of a Glance that runs.
        section: the section of the store.
    """
    name, address = socket.gethostname(), None
    with suppress(OSError):
        address = address_of(name)
    rootwrap = str(value_of(conf, "rootwrap_config", section=section))
    helper = _helper(value_of(conf, "helper_command", section="privsep_osbrick"))
    return StoreHost(
        name=name,
        address=address,
        loopback=address is not None and is_loopback(address),
        lock_path=value_of(conf, "lock_path", section="os_brick")
        or value_of(conf, "lock_path", section="oslo_concurrency"),
        rootwrap_config=rootwrap,
        rootwrap_config_exists=Path(rootwrap).is_file(),
        privsep_helper=helper,
        privsep_helper_exists=any(shutil.which(helper, path=path) for path in _paths(Path(rootwrap))),
    )


def _try_cinder(conf: cfg.ConfigOpts, section: str) -> StoreTrial:
    host = host_of(conf, section=section)
    options: Any = SimpleNamespace(**options_of(conf, section=section))
    if not has_service_user(options):
        return StoreTrial(not_tried=_NO_CREDENTIALS, host=host)
    default = None
    try:
        volumes = service_volumes(options, timeout_seconds=_ANSWER_SECONDS)
        types = frozenset(volumes.volume_types())
    except ImagevolError as error:
        return StoreTrial(sign_in_error=str(error), host=host)
    with suppress(ImagevolError):  # what is asked with it is a warning only
        default = volumes.default_volume_type()
    return StoreTrial(volume_types=types, default_volume_type=default, host=host)


def _try_file(conf: cfg.ConfigOpts, section: str) -> StoreTrial:
    one, several = (value_of(conf, option, section=section) for option in _DATADIRS)
    paths = [path.rpartition(":")[0] if ":" in path else path for path in several or ()] or [one]
    return StoreTrial(directories={path: _wrong_with(Path(path)) for path in paths if path})


def _wrong_with(directory: Path) -> str | None:
    try:
        if not directory.exists():
            return "there is no such directory: create it, for Glance's user"
        if not directory.is_dir():
            return "it is not a directory"
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "this user cannot write into it: run this command as Glance's user, or change the owner"
    return None


def _helper(command: str | None) -> str:
    """The program that becomes root: of a command that begins with sudo or rootwrap, the one that these run."""
    try:
        words = shlex.split(command or "")
    except ValueError:
        words = (command or "").split()
    return next((word for word in words if Path(word).name == _HELPER), words[0] if words else _HELPER)


def _paths(rootwrap: Path) -> Iterator[str | None]:
    """Where programs are looked for: by this process, beside its Python, and by rootwrap."""
    yield None
    yield str(Path(sys.executable).parent)
    parser = ConfigParser(interpolation=None, strict=False)
    with suppress(OSError, UnicodeDecodeError, ConfigParserError):
        parser.read_string(rootwrap.read_text())
        yield parser.get("DEFAULT", "exec_dirs", fallback="").replace(",", os.pathsep)
