"""The services' configuration files, as data, and how they are written.

Every file is a mapping of sections, so that whoever starts a cloud can lay options over it, be it
a backend, a store or a filter in a paste pipeline (`Settings.overrides`).
"""

import json
import sysconfig
from configparser import ConfigParser
from pathlib import Path

from tests.cloud.processes import SCRIPTS
from tests.cloud.settings import BACKENDS, CLOUDS, CLUSTER, HOST, REGION, Sections, Site

# Where pip puts the data files of the services.
SHIPPED = Path(sysconfig.get_path("data")) / "etc"


def files(site: Site) -> dict[str, Sections]:
    """Every configuration file, by its path under the cloud's `etc`, with the overrides."""
    ours = {
        "keystone/keystone.conf": _keystone(site),
        "cinder/cinder.conf": _cinder(site),
        "cinder/api-paste.ini": _shipped("cinder/api-paste.ini"),
        "cinder/rootwrap.conf": _rootwrap("cinder"),
        "glance/glance-api.conf": _glance(site) if site.settings.several_stores else _single_store(_glance(site)),
        "glance/glance-api-paste.ini": _shipped("glance/glance-api-paste.ini"),
        "glance/rootwrap.conf": _rootwrap("glance"),
    }
    overrides = site.settings.overrides
    if unknown := set(overrides) - set(ours):
        raise ValueError(f"no configuration file {sorted(unknown)}; there are {[*ours]}")
    return {name: _merged(sections, overrides.get(name, {})) for name, sections in ours.items()}


def enabled_backends(site: Site) -> list[str]:
    """Cinder's backends, after the overrides."""
    return (files(site)["cinder/cinder.conf"]["DEFAULT"]["enabled_backends"] or "").split(",")


def write(site: Site) -> None:
    """Write all of them, and clouds.yaml, for no eyes but the owner's."""
    for name, sections in files(site).items():
        write_private(site.directory / "etc" / name, _ini(sections))
    filters = (SHIPPED / "cinder/resource_filters.json").read_text()
    write_private(site.directory / "etc/cinder/resource_filters.json", filters)
    write_private(site.directory / "clouds.yaml", _clouds_yaml(site))


def _keystone(site: Site) -> Sections:
    directory = site.directory
    return {
        "database": {"connection": _database(site, "keystone")},
        # As in every cloud, but in the memory of its one worker: or each token costs most of a second of a processor.
        "cache": {"enabled": "true", "backend": "dogpile.cache.memory"},
        "token": {"provider": "fernet"},
        "fernet_tokens": {"key_repository": f"{directory}/keystone/fernet"},
        "fernet_receipts": {"key_repository": f"{directory}/keystone/fernet"},
        "credential": {"key_repository": f"{directory}/keystone/credential"},
        # The least that bcrypt takes: these passwords live for minutes.
        "identity": {"password_hash_rounds": "4"},
    }


def _cinder(site: Site) -> Sections:
    directory = site.directory
    privsep = _privsep(f"{directory}/etc/cinder/cinder.conf")
    backends: dict[str, dict[str, str | None]] = {
        backend: {
            "volume_driver": "tests.cloud.volume_driver.ReflinkFileDriver",
            "volume_backend_name": backend,
            "reflinkfile_directory": f"{directory}/volumes/{backend}",
            "reflinkfile_capacity_gb": str(site.settings.capacity_gib),
            "image_upload_use_cinder_backend": "true",
            "image_upload_use_internal_tenant": "true",
            "image_volume_cache_enabled": "true",
        }
        for backend in BACKENDS
    }
    return backends | {
        "DEFAULT": {
            "debug": "true",
            "state_path": f"{directory}/cinder",
            "auth_strategy": "keystone",
            "api_paste_config": f"{directory}/etc/cinder/api-paste.ini",
            "resource_query_filters_file": f"{directory}/etc/cinder/resource_filters.json",
            "rootwrap_config": f"{directory}/etc/cinder/rootwrap.conf",
            "transport_url": _transport_url(site),
            "host": HOST,
            "cluster": CLUSTER if site.settings.volume_hosts else None,
            "my_ip": "127.0.0.1",
            "osapi_volume_listen": "127.0.0.1",
            "osapi_volume_listen_port": str(site.ports["cinder"]),
            "osapi_volume_workers": "1",
            "glance_api_servers": site.image_url,
            "enabled_backends": ",".join(BACKENDS),
            "default_volume_type": BACKENDS[0],
            "allowed_direct_url_schemes": "cinder",
            "cinder_internal_tenant_project_id": site.project_ids.get("service"),
            "cinder_internal_tenant_user_id": site.user_ids.get("cinder"),
            "image_conversion_dir": f"{directory}/cinder/conversion",
            "volume_clear": "none",
            "quota_volumes": "-1",
            "quota_gigabytes": "-1",
            "quota_snapshots": "-1",
            # A busy machine is no reason to think that a service is down.
            "service_down_time": "600",
            "scheduler_driver_init_wait_time": "1",
            # Space that was freed is soon known to the scheduler.
            "periodic_interval": "5",
            "periodic_fuzzy_delay": "0",
            "backend_stats_polling_interval": "5",
        },
        "database": {"connection": _database(site, "cinder")},
        # Barbican needs a service of its own; Cinder's manager of one fixed key has the same calls.
        "key_manager": {"backend": "cinder.keymgr.conf_key_mgr.ConfKeyManager", "fixed_key": "5a" * 32},
        "oslo_concurrency": {"lock_path": f"{directory}/locks"},
        "coordination": {"backend_url": f"file://{directory}/cinder/coordination"},
        "cinder_sys_admin": privsep,
        "privsep_osbrick": privsep,
        "keystone_authtoken": _token_validation(site, "cinder"),
        # The new Location API asks for a service role, which the requester's token has not.
        "glance": _credentials(site, "cinder"),
        "service_user": {"send_service_user_token": "true", **_credentials(site, "cinder")},
    }


def _glance(site: Site) -> Sections:
    directory = site.directory
    stores: dict[str, dict[str, str | None]] = {
        store: {
            "store_description": f"volumes of type {store}",
            "cinder_volume_type": store,
            "cinder_mount_point_base": f"{directory}/glance/mnt",
            "rootwrap_config": f"{directory}/etc/glance/rootwrap.conf",
            "cinder_store_auth_address": site.auth_url,
            "cinder_store_user_name": "glance",
            "cinder_store_password": site.passwords["glance"],
            "cinder_store_project_name": "service",
        }
        for store in BACKENDS
    }
    drivers = [f"{store}:{site.settings.store_driver}" for store in BACKENDS]
    return stores | {
        "DEFAULT": {
            "debug": "true",
            "bind_host": "127.0.0.1",
            "bind_port": str(site.ports["glance"]),
            "worker_self_reference_url": site.image_url,
            "enabled_backends": ",".join([*drivers, "local:file"]),
            "enabled_import_methods": "[glance-direct,copy-image]",
            "show_image_direct_url": "true",
            "show_multiple_locations": "true",
            "node_staging_uri": f"file://{directory}/glance/staging",
        },
        "database": {"connection": _database(site, "glance")},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": f"{directory}/etc/glance/glance-api-paste.ini",
        },
        "glance_store": {"default_backend": BACKENDS[0]},
        "local": {"filesystem_store_datadir": f"{directory}/glance/images"},
        "os_glance_staging_store": {"filesystem_store_datadir": f"{directory}/glance/staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": f"{directory}/glance/tasks"},
        "oslo_concurrency": {"lock_path": f"{directory}/locks"},
        "privsep_osbrick": _privsep(f"{directory}/etc/glance/glance-api.conf"),
        "keystone_authtoken": _token_validation(site, "glance"),
    }


def _single_store(several: Sections) -> Sections:
    """What Glance's configuration was before it had several stores."""
    backends = several["DEFAULT"]["enabled_backends"] or ""
    gone = {*BACKENDS, "local", "os_glance_staging_store", "os_glance_tasks_store"}
    kept = {section: options for section, options in several.items() if section not in gone}
    options = {**several[BACKENDS[0]], **several["local"], "store_description": None}
    stores = {"stores": f"{backends.partition(':')[2].partition(',')[0]},file", "default_store": "cinder"}
    return kept | {
        "DEFAULT": {**several["DEFAULT"], "enabled_backends": None},
        "glance_store": {**stores, **options},
    }


def _database(site: Site, name: str) -> str:
    return f"mysql+pymysql://root@localhost/{name}?unix_socket={site.database_socket}&charset=utf8"


def _transport_url(site: Site) -> str:
    if not site.settings.volume_hosts:
        return "fake://"
    return f"rabbit://cinder:{site.passwords['broker']}@127.0.0.1:{site.ports['broker']}/"


def _credentials(site: Site, user: str) -> dict[str, str | None]:
    return {
        "auth_type": "password",
        "auth_url": site.auth_url,
        "username": user,
        "password": site.passwords[user],
        "project_name": "service",
        "user_domain_id": "default",
        "project_domain_id": "default",
    }


def _token_validation(site: Site, user: str) -> dict[str, str | None]:
    return {
        "www_authenticate_uri": site.auth_url,
        "service_token_roles": "service",
        "service_token_roles_required": "true",
        **_credentials(site, user),
    }


def _privsep(configuration: str) -> dict[str, str | None]:
    return {"helper_command": f"{SCRIPTS}/privsep-helper --config-file {configuration}"}


def _rootwrap(service: str) -> Sections:
    filters = (SHIPPED / service / "rootwrap.d", SHIPPED / "os-brick" / "rootwrap.d")
    return {
        "DEFAULT": {
            "filters_path": ",".join(str(path) for path in filters),
            "exec_dirs": f"{SCRIPTS},/usr/local/sbin,/usr/local/bin,/usr/sbin,/usr/bin,/sbin,/bin",
            "use_syslog": "false",
        }
    }


class _PasteParser(ConfigParser):
    """Reads paste's files, which tell small letters from capital ones."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _shipped(name: str) -> Sections:
    """A file as the service ships it."""
    parser = _PasteParser(interpolation=None, default_section="")
    with (SHIPPED / name).open() as shipped:
        parser.read_file(shipped)
    return {section: dict(parser[section]) for section in parser.sections()}


def _merged(sections: Sections, overrides: Sections) -> Sections:
    return {
        section: {**sections.get(section, {}), **overrides.get(section, {})}
        for section in [*sections, *(name for name in overrides if name not in sections)]
    }


def _ini(sections: Sections) -> str:
    lines = []
    for section, options in sections.items():
        lines.append(f"[{section}]")
        for option, value in options.items():
            if value is not None:
                lines.append(f"{option} = {value}".replace("\n", "\n    "))
    return "\n".join(lines) + "\n"


def _clouds_yaml(site: Site) -> str:
    clouds = {
        name: {
            "auth": {
                "auth_url": site.auth_url,
                "username": user,
                "password": site.passwords[user],
                "project_name": project,
                "user_domain_id": "default",
                "project_domain_id": "default",
            },
            "region_name": REGION,
            "identity_api_version": "3",
        }
        for name, (user, project) in CLOUDS.items()
    }
    # JSON is YAML, and the standard library writes it.
    return json.dumps({"clouds": clouds}, indent=2) + "\n"


def write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
