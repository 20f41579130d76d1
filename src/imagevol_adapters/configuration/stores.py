"""The stores that a `glance-api.conf` configures, read with oslo.config.

Glance itself reads its stores' options from the drivers that are installed with it.  So do we where it is installed,
and otherwise from a table of those that say what is needed here.  `read_catalogue` and `credentials` take the
configuration of a running Glance as well, and register nothing in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from errno import EFBIG, EINVAL
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from oslo_config import cfg

from imagevol_adapters.configuration.text import ConfigurationText
from imagevol_adapters.opening import is_directory, read_file
from imagevol_core import InvalidConfiguration, Store, StoreCatalogue
from imagevol_core.sentences import said
from imagevol_core.stores import CINDER_KINDS, RESERVED_STORES, SCHEMES

__all__ = [
    "LONGEST_FILE",
    "credentials",
    "load",
    "options_of",
    "place",
    "read_catalogue",
    "refuse_endless",
    "section_of",
    "value_of",
]

LONGEST_FILE = 16 << 20
"""How many bytes a configuration file may have; Glance's sample has a few hundred thousand."""

_SINGLE = "glance_store"  # where a single-store Glance has the options of all its drivers
_READ_ONLY_KINDS = frozenset({"http"})

_GENERAL = (cfg.DictOpt("enabled_backends", help="Each store, and its driver."),)
_OF_ALL_STORES = (
    cfg.StrOpt("default_backend", help="The store of an image that names none."),
    cfg.ListOpt("stores", default=["file", "http"], help="The drivers of a single-store Glance."),
    cfg.StrOpt("default_store", default="file", help="The scheme of its default one."),
)
_OF_A_STORE = (
    cfg.StrOpt("store_description", help="What users are told of the store."),
    cfg.IntOpt("weight", default=0, help="Its place among the stores that an image is in, larger first."),
)
# Of glance_store's cinder driver, those that say which volumes are a store's, and whose.
_OF_A_CINDER_STORE = (
    cfg.StrOpt("cinder_volume_type"),
    cfg.StrOpt("cinder_catalog_info", default="volumev3::publicURL"),
    cfg.StrOpt("cinder_endpoint_template"),
    cfg.StrOpt("cinder_os_region_name", deprecated_name="os_region_name"),
    cfg.StrOpt("cinder_ca_certificates_file"),
    cfg.BoolOpt("cinder_api_insecure", default=False),
    cfg.IntOpt("cinder_http_retries", default=3),
    cfg.IntOpt("cinder_state_transition_timeout", default=300),
    cfg.StrOpt("rootwrap_config", default="/etc/glance/rootwrap.conf"),
    cfg.BoolOpt("cinder_use_multipath", default=False),
    cfg.StrOpt("cinder_store_auth_address"),
    cfg.StrOpt("cinder_store_user_name"),
    cfg.StrOpt("cinder_store_user_domain_name", default="Default"),
    cfg.StrOpt("cinder_store_password", secret=True),
    cfg.StrOpt("cinder_store_project_name"),
    cfg.StrOpt("cinder_store_project_domain_name", default="Default"),
    cfg.StrOpt("cinder_store_application_credential_id"),
    cfg.StrOpt("cinder_store_application_credential_secret", secret=True),
)
_OF_A_FILE_STORE = (
    cfg.StrOpt("filesystem_store_datadir", default="/var/lib/glance/images"),
    cfg.MultiStrOpt("filesystem_store_datadirs"),
)
_OF_THE_HOST = (  # each with the section in which it is
    ("oslo_concurrency", cfg.StrOpt("lock_path")),
    ("os_brick", cfg.StrOpt("lock_path")),
    ("privsep_osbrick", cfg.StrOpt("helper_command")),
)
_CREDENTIALS = tuple(  # but for the domains, which have defaults
    option.name for option in _OF_A_CINDER_STORE if option.name.startswith("cinder_store_") and option.default is None
)


def load(files: Sequence[Path]) -> cfg.ConfigOpts:
    """Read configuration files as Glance would, into a configuration of their own.

    Args:
        files: a later one overrules an earlier one; of a directory, all `*.conf` in it, in the order of their names.

    Returns:
        The configuration, with the options of all stores registered.  The environment, which is not Glance's, is not
        looked at.

    Raises:
        InvalidConfiguration: a file cannot be read, or is malformed; or the stores cannot be told.
    """
    refuse_endless(files)
    conf = cfg.ConfigOpts()
    problem = None
    try:
        conf(
            [f"--config-{'dir' if is_directory(file) else 'file'}={file}" for file in files],
            project="glance",
            prog="glance-api",
            default_config_files=[],
            default_config_dirs=[],
            use_env=False,
        )
    except Exception as error:  # noqa: BLE001 - its parser's are no cfg.Error
        problem = _explained(error, files)
    if problem:  # outside, so that the line, which may be a password, is not with the error
        raise InvalidConfiguration(*problem)
    conf.register_opts(_GENERAL)
    taken = set(conf)
    conf.register_opts(_OF_ALL_STORES, group=_SINGLE)
    backends = value_of(conf, "enabled_backends")
    for name in taken.intersection(backends or ()):  # oslo.config would give the section in place of the option
        raise InvalidConfiguration(
            place(conf, "enabled_backends", "DEFAULT"),
            f"a store cannot be named {name!r}, because [DEFAULT] has an option of this name; give it another name",
        )
    for section, option in _OF_THE_HOST:
        _register(conf, (option,), section=section)
    if backends:
        for name, kind in backends.items():
            if name not in RESERVED_STORES:
                _register(conf, (*_OF_A_STORE, *_driver_options(kind)), section=name)
    else:
        for kind in value_of(conf, "stores", section=_SINGLE):
            _register(conf, _driver_options(kind), section=_SINGLE)
    return conf


def refuse_endless(files: Sequence[Path]) -> None:
    """Refuse what oslo.config would never read to its end; what it cannot read at all, it says itself.

    Args:
        files: configuration files, and directories of them.

    Raises:
        InvalidConfiguration: a file is not one, or too long.
    """
    for path in (path for file in files for path in (sorted(file.glob("*.conf")) if is_directory(file) else [file])):
        try:
            read_file(path, longest_bytes=LONGEST_FILE)
        except OSError as error:
            if error.errno in (EINVAL, EFBIG):
                raise InvalidConfiguration(said(path), str(error.strerror)) from error


def read_catalogue(conf: cfg.ConfigOpts) -> StoreCatalogue:
    """Say which stores are configured.

    Args:
        conf: what `load` gives, or the configuration of a Glance that runs.

    Returns:
        The stores, without those that Glance makes for its own work.  A single-store Glance has one for each driver,
        of the driver's name.

    Raises:
        InvalidConfiguration: a value is malformed.
    """
    backends = value_of(conf, "enabled_backends")
    if backends:
        stores = tuple(
            _store(conf, name, kind, section=name)
            for name, kind in backends.items()
            if not (name in RESERVED_STORES and name in conf)  # one that an operator has named is a fault to be found
        )
        return StoreCatalogue(stores=stores, default=value_of(conf, "default_backend", section=_SINGLE))
    kinds = dict.fromkeys(value_of(conf, "stores", section=_SINGLE) or ())
    scheme = value_of(conf, "default_store", section=_SINGLE)
    return StoreCatalogue(
        stores=tuple(_store(conf, kind, kind, section=_SINGLE) for kind in kinds),
        default=next((kind for kind in kinds if scheme in SCHEMES.get(kind, ())), scheme),
        multi=False,
    )


def credentials(conf: cfg.ConfigOpts, catalogue: StoreCatalogue) -> Mapping[str, frozenset[str]]:
    """Give the names of the options of each cinder store that say who it is to Cinder, as far as they are set.

    Args:
        conf: what `load` gives, or the configuration of a Glance that runs.
        catalogue: what `read_catalogue` makes of it.

    Returns:
        By the names of the stores; never a value.

    Raises:
        InvalidConfiguration: a value is malformed.
    """
    return {
        store.name: frozenset(
            option for option in _CREDENTIALS if value_of(conf, option, section=section_of(store, catalogue))
        )
        for store in catalogue.stores
        if store.is_cinder
    }


def section_of(store: Store, catalogue: StoreCatalogue) -> str:
    """Give the name of the section that has the options of a store."""
    return store.name if catalogue.multi else _SINGLE


def _store(conf: cfg.ConfigOpts, name: str, kind: str, *, section: str) -> Store:
    return Store(
        name=name,
        kind=kind,
        volume_type=value_of(conf, "cinder_volume_type", section=section) if kind in CINDER_KINDS else None,
        weight=value_of(conf, "weight", section=section) or 0,
        readonly=kind in _READ_ONLY_KINDS,
    )


def _driver_options(kind: str) -> Sequence[cfg.Opt]:
    """What the driver of that name publishes; what we know of it where it is not installed, or lacks a library."""
    for driver in entry_points(group="glance_store.drivers", name=kind):
        with suppress(Exception):  # others' drivers raise what they like when they are imported
            published: Sequence[cfg.Opt] | None = driver.load().OPTIONS
            if published:
                return published
    if kind in CINDER_KINDS:
        return _OF_A_CINDER_STORE
    return _OF_A_FILE_STORE if kind == "file" else ()


def _register(conf: cfg.ConfigOpts, options: Sequence[cfg.Opt], *, section: str) -> None:
    for option in options:
        try:
            conf.register_opt(option, group=section)
        except cfg.DuplicateOptError:  # two drivers that share an option; to us it is the same
            continue
        except Exception as error:
            raise InvalidConfiguration(f"[{section}] {option.name}", _refused(error)) from error


def options_of(conf: cfg.ConfigOpts, *, section: str) -> dict[str, Any]:
    """Give the options of a section that glance_store's cinder driver has, by name.

    Raises:
        InvalidConfiguration: a value is malformed.
    """
    return {option.dest: value_of(conf, option.dest, section=section) for option in _OF_A_CINDER_STORE}


def value_of(conf: cfg.ConfigOpts, option: str, *, section: str | None = None) -> Any:
    """Give the value of an option, references followed; None where it is not set, or is no option of this section.

    Raises:
        InvalidConfiguration: it is malformed; the option is named, and of the value nothing that may be secret.
    """
    if section is not None and section not in conf:
        return None
    options = conf if section is None else conf[section]
    if option not in options:
        return None
    try:
        value = options[option]
        if not _has_nul(value):
            return value
        reason = "it has a NUL in it"
    except cfg.ConfigFileValueError as error:
        reason = str(error.__context__ or "it is malformed")
    except (cfg.NoSuchOptError, cfg.TemplateSubstitutionError):  # whose text may be the half of a password
        reason = "it refers to an option that does not exist; a dollar sign is written $$"
    except RecursionError:
        reason = "it refers to itself; a dollar sign is written $$"
    except Exception as error:  # noqa: BLE001 - a driver's own option may have a type of its own
        reason = _refused(error)
    raise InvalidConfiguration(place(conf, option, section or "DEFAULT"), reason)


def _has_nul(value: object) -> bool:
    """Whether a value is or has a text that no system call takes."""
    texts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return any("\0" in text for text in texts if isinstance(text, str))


def place(conf: cfg.ConfigOpts, option: str, section: str) -> str:
    """Give where an option is set: the file and the line, if it is in a file."""
    files = list(map(Path, conf.config_file or ()))
    files += (file for directory in conf.config_dirs for file in sorted(Path(directory).glob("*.conf")))
    for file in reversed(files):
        with suppress(OSError, UnicodeDecodeError, InvalidConfiguration):
            found = ConfigurationText.parse(file.read_bytes().decode(), name=str(file)).of(section, option)
            if found:
                return f"{file}:{found[-1].lines[0] + 1}, [{section}] {option}"
    return f"[{section}] {option}"


def _explained(error: Exception, files: Sequence[Path]) -> tuple[str, str]:
    """Where it is wrong, and what; never what is there."""
    match error:
        case cfg.ConfigFilesNotFoundError():
            return said(", ".join(error.config_files)), "there is no such file"
        case cfg.ConfigFilesPermissionDeniedError():
            return said(", ".join(error.config_files)), "it may not be read; do it as root, or as Glance's user"
        case cfg.ConfigFileParseError(__context__=cfg.ParseError() as parse):
            return f"{parse.filename}:{parse.lineno}", parse.msg
        case UnicodeDecodeError():
            return ", ".join(map(str, files)), "not all of it is text in UTF-8"
        case OSError():
            return str(error.filename), str(error.strerror)
    return ", ".join(map(str, files)), _refused(error)


def _refused(error: Exception) -> str:
    """What is said of an error whose text may be a piece of a secret."""
    return f"oslo.config refuses it with {type(error).__name__}"
