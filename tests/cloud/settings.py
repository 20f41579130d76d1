"""What a test may choose about a cloud, and what is drawn for each cloud anew."""

import secrets
import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

# Section to option to value; None takes away what the rig would have written.
Sections = Mapping[str, Mapping[str, str | None]]

# Backends of Cinder, and stores of Glance of the same names that keep their images there.
BACKENDS = ("fast", "slow")
HOST = "rig"
CLUSTER = "rigs"
# In a backend's directory: how many seconds its driver takes for a clone.
CLONE_SECONDS = ".clone_seconds"
REGION = "RegionOne"
FILTERED_PIPELINE = "cors http_proxy_to_wsgi versionnegotiation osprofiler authtoken context imagevol rootapp"
# What listens on a port of its own: the last three belong to the message broker.
SERVICES = ("keystone", "cinder", "glance", "broker", "distribution", "epmd")

# User, project, roles. Users and projects that Keystone's bootstrap did not make are created.
ASSIGNMENTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("admin", "demo", ("admin",)),
    ("glance", "service", ("admin", "service")),
    ("cinder", "service", ("admin", "service")),
    ("demo", "demo", ("member",)),
    ("other", "other", ("member",)),
)
# Name in clouds.yaml to user and project.
CLOUDS = {
    "admin": ("admin", "demo"),
    "service": ("glance", "service"),
    "demo": ("demo", "demo"),
    "other": ("other", "other"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What differs between clouds."""

    #: The glance_store driver behind the stores `fast` and `slow`.
    store_driver: str = "cinder"
    #: Whether Glance has them in sections of their own; if not, `fast` alone is its cinder store, as before Train.
    several_stores: bool = True
    #: What each backend may hold before it is full. The files are sparse: nothing is reserved.
    capacity_gib: int = 100
    #: The hosts of an active-active cluster, each a cinder-volume of its own with every backend, beside the API and
    #: the scheduler; they talk by RabbitMQ. Without any, all of Cinder is one process.
    volume_hosts: tuple[str, ...] = ()
    #: File (a key of `configuration.files`) to its sections, laid over what the rig writes.
    overrides: Mapping[str, Sections] = field(default_factory=dict)


def with_filter(options: Mapping[str, str] = {}) -> Sections:
    """Glance's paste file with our middleware in it, which has these options.

    Without it, Glance 33 tells no details of our stores, which `cp` needs.
    """
    factory = "imagevol_adapters.middleware:filter_factory"
    return {
        "composite:api": {"keystone": FILTERED_PIPELINE},
        "filter:imagevol": {"paste.filter_factory": factory, **options},
    }


def with_mixin(
    options: Mapping[str, str] = {},
    *,
    volume_hosts: tuple[str, ...] = (),
    glance: Mapping[str, Mapping[str, str]] = {},
    **sections: Mapping[str, str],
) -> Settings:
    """The settings that the how-to recommends, with options for each backend, and more of these in sections."""
    backend = {
        "volume_driver": "tests.cloud.volume_driver.CloningFileDriver",
        "image_volume_cache_enabled": "false",
        "image_clone_direct_url_schemes": "cinder",
        **options,
    }
    cinder: dict[str, Mapping[str, str | None]] = {
        **sections,
        **{name: backend | dict(sections.get(name, {})) for name in BACKENDS},
        "DEFAULT": {"allowed_direct_url_schemes": None},
    }
    overrides = {"cinder/cinder.conf": cinder, "glance/glance-api.conf": glance}
    return Settings(store_driver="imagevol", volume_hosts=volume_hosts, overrides=overrides)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One cloud to be: its place, ports and passwords, and what Keystone named its projects."""

    directory: Path
    settings: Settings
    ports: Mapping[str, int]
    passwords: Mapping[str, str]
    project_ids: Mapping[str, str] = field(default_factory=dict)
    user_ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def auth_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['keystone']}/v3"

    @property
    def volume_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['cinder']}/v3"

    @property
    def image_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['glance']}"

    @property
    def database_socket(self) -> Path:
        return self.directory / "tmp" / "mariadb.sock"


def new_passwords() -> dict[str, str]:
    return {user: secrets.token_urlsafe(16) for user in ("broker", *(user for user, _, _ in ASSIGNMENTS))}


def reserve_ports(services: tuple[str, ...], until: ExitStack) -> dict[str, int]:
    """A free loopback port for each service, which nobody else is given `until` this closes.

    A socket that is bound and does not listen keeps the port from everybody but those who
    say SO_REUSEADDR, as servers do and outgoing connections do not.
    """
    ports = {}
    for service in services:
        holder = until.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        ports[service] = holder.getsockname()[1]
    return ports
