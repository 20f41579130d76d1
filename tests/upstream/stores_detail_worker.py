"""Asks the API of the installed Glance about its stores, with the filter before it and without.

The routes, the policy and the answers are Glance's; the drivers have no more than what it reads of them.
"""

from __future__ import annotations

import logging
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from tests.upstream.asking import serve

# By name: where types are checked there is no Glance.
import_module("glance.common.config")
cfg = import_module("oslo_config.cfg")
context = import_module("glance.context")
multi_backend = import_module("glance_store.multi_backend")
router = import_module("glance.api.v2.router")
store_location = import_module("glance_store.location")
webob = import_module("webob")
RESERVED = import_module("glance.common.wsgi_app").RESERVED_STORES
CONF = cfg.CONF
CONF.register_opts(multi_backend._STORE_OPTS, group="glance_store")
CONF([], project="glance", default_config_files=[])  # after all imports, which register options of the command line

GLANCE = import_module("paste.urlmap").URLMap()  # as Glance's root application is one
GLANCE["/v2"] = router.API.factory({})
FILTERED = import_module("imagevol_adapters.middleware").filter_factory({})(GLANCE)

CINDER = SimpleNamespace(store_conf=SimpleNamespace(cinder_volume_type="ssd", cinder_use_multipath=True))
FILE = SimpleNamespace(datadir="/images", chunk_size=65536, thin_provisioning=False)
DRIVERS = {"cinder": CINDER, "imagevol": CINDER, "file": FILE, "http": SimpleNamespace()}


def ask(path: str, stores: dict[str, str], *, filtered: bool, roles: list[str], method: str) -> Any:
    """Ask with these roles: give status, headers and body."""
    multi = store_location.SCHEME_TO_CLS_BACKEND_MAP
    multi.clear()
    CONF.set_override("enabled_backends", {**stores, **RESERVED})  # as they are once the stores are loaded
    CONF.set_override("default_backend", next(iter(stores), None), group="glance_store")
    for weight, (name, kind) in enumerate(stores.items()):
        CONF.register_opts((cfg.IntOpt("weight"), cfg.StrOpt("store_description")), group=name)
        CONF.set_override("weight", weight, group=name)
        CONF.set_override("store_description", f"the store {name}", group=name)
        driver = SimpleNamespace(**vars(DRIVERS[kind]), is_capable=lambda *_: True)
        multi.setdefault(kind, {})[name] = {"store": driver, "store_entry": kind}
    request = webob.Request.blank(path, method=method)
    request.context = context.RequestContext(user_id="u", project_id="p", roles=roles, is_admin="admin" in roles)
    answer = request.get_response(FILTERED if filtered else GLANCE)
    return {"status": answer.status_int, "headers": sorted(answer.headers.items()), "body": answer.text}


if __name__ == "__main__":
    logging.disable()
    serve({"ask": ask})
