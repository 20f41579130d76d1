"""Fill a fresh Keystone with users, projects, roles and endpoints, and Cinder with types."""

import base64
import dataclasses
import hashlib
import os
from collections.abc import Iterator

from tests.cloud.rest import Api
from tests.cloud.settings import ASSIGNMENTS, BACKENDS, REGION, Site

BOOTSTRAP_PROJECT = "admin"


def sign_in(site: Site, *, user: str, project: str) -> str:
    """A token for this user in this project."""
    domain = {"id": "default"}
    credentials = {"name": user, "domain": domain, "password": site.passwords[user]}
    headers, _ = Api(site.auth_url).request(
        "POST",
        "/auth/tokens",
        {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": credentials}},
                "scope": {"project": {"name": project, "domain": domain}},
            }
        },
    )
    return headers["X-Subject-Token"]


def fill_keystone(site: Site) -> Site:
    """Create what is missing after Keystone's bootstrap; the site with the ids it then has.

    It must be the same for every cloud, but for what `own` changes.
    """
    api = Api(site.auth_url, token=sign_in(site, user="admin", project=BOOTSTRAP_PROJECT))
    roles = {role["name"]: role["id"] for role in api.get("/roles")["roles"]}
    users = {user["name"]: user["id"] for user in api.get("/users")["users"]}
    projects = {project["name"]: project["id"] for project in api.get("/projects")["projects"]}
    for user, project, granted in ASSIGNMENTS:
        if project not in projects:
            answer = api.post("/projects", {"project": {"name": project, "domain_id": "default"}})
            projects[project] = answer["project"]["id"]
        if user not in users:
            body = {"name": user, "domain_id": "default", "password": site.passwords[user]}
            users[user] = api.post("/users", {"user": body})["user"]["id"]
        for role in granted:
            api.put(f"/projects/{projects[project]}/users/{users[user]}/roles/{roles[role]}")
    for (kind, name), url in _catalogue(site).items():
        if kind == "identity":  # of the bootstrap
            continue
        service = api.post("/services", {"service": {"type": kind, "name": name}})["service"]
        for interface in ("public", "internal", "admin"):
            endpoint = {"service_id": service["id"], "interface": interface, "url": url}
            api.post("/endpoints", {"endpoint": {**endpoint, "region_id": REGION}})
    return dataclasses.replace(site, project_ids=projects, user_ids=users)


def own(site: Site) -> Iterator[str]:
    """SQL that gives a copy of the databases of another cloud the passwords and the addresses of this one."""
    for user, _, _ in ASSIGNMENTS:
        whose = f"id IN (SELECT id FROM keystone.local_user WHERE name = '{user}')"
        hashed = _hashed(site.passwords[user])
        yield f"UPDATE keystone.password SET password_hash = '{hashed}' WHERE local_user_{whose};"
    for (kind, _), url in _catalogue(site).items():
        whose = f"id IN (SELECT id FROM keystone.service WHERE type = '{kind}')"
        yield f"UPDATE keystone.endpoint SET url = '{url}' WHERE service_{whose};"


def _catalogue(site: Site) -> dict[tuple[str, str], str]:
    """Type and name of each service, and where it is."""
    return {
        ("identity", "keystone"): site.auth_url,
        ("block-storage", "cinder"): site.volume_url,
        # The name under which older clients, and glance_store, look for it.
        ("volumev3", "cinderv3"): site.volume_url,
        ("image", "glance"): site.image_url,
    }


def _hashed(password: str) -> str:
    """As Keystone keeps it. One round: these passwords live for minutes, and nobody could guess them."""
    salt = os.urandom(16)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 1)
    return "$pbkdf2-sha512$1$" + "$".join(base64.b64encode(part).decode().rstrip("=") for part in (salt, digest))


def cinder_api(site: Site) -> Api:
    """Cinder's API as its administrator."""
    token = sign_in(site, user="admin", project="demo")
    return Api(f"{site.volume_url}/{site.project_ids['demo']}", token=token)


def create_volume_type(cinder: Api, name: str, extra_specs: dict[str, str]) -> None:
    cinder.post("/types", {"volume_type": {"name": name, "extra_specs": extra_specs}})


def create_backend_types(cinder: Api) -> None:
    """A type for each backend. Without `image_service:store_id`: they exercise registration by
    location, which Glance 33 refuses as soon as Cinder names the store."""
    for backend in BACKENDS:
        create_volume_type(cinder, backend, {"volume_backend_name": backend})


def create_store_type(cinder: Api) -> None:
    """A type whose images go to another store than its own. Cinder asks Glance for the store, so
    Glance must run; and a type in use cannot be changed, so it is one of its own."""
    specs = {"volume_backend_name": "fast", "image_service:store_id": "slow"}
    create_volume_type(cinder, "fast2slow", specs)


def volume_services_up(cinder: Api) -> int:
    """How many cinder-volume services, one for each backend of each host, have told of themselves."""
    services = cinder.get("/os-services?binary=cinder-volume")["services"]
    return sum(service["state"] == "up" for service in services)


def backend_hosts(cinder: Api) -> dict[str, str]:
    """Backend to `host@backend#pool`, of those whose storage the scheduler knows."""
    pools = [pool["name"] for pool in cinder.get("/scheduler-stats/get_pools")["pools"]]
    return {pool.partition("@")[2].partition("#")[0]: pool for pool in pools}
