"""`GET /v2/info/stores/detail` for stores of kind `imagevol`, as for those of kind `cinder`.

Glance 33.0.0 looks the kind of each store up in a fixed table, and one that is missing in it makes the whole answer a
500.  What could be done about it:

* set `enabled_backends` to another value once the stores are loaded: a lie to all of Glance, which would load its own
  driver the next time it loads stores;
* put the answer together here, from `/v2/info/stores`: the policy of the detailed answer, and what it says of stores of
  every other kind, would be written a second time, and would drift;
* ask Glance's own controller for the other stores only, so that the policy and the other kinds stay its own affair, and
  for each of ours ask it what it says of a cinder store, which has the same options.

It is the last one.  Nothing of Glance is changed, and a request is answered here only where there is such a store.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from oslo_config import cfg
from webob import Request

from imagevol_adapters.configuration.stores import value_of
from imagevol_core import InvalidConfiguration

__all__ = ["StoresDetail"]

_OURS = "imagevol"
_SHOWN_AS = "cinder"  # the same volumes under the same options: the readers of the answer know that kind


class StoresDetail:
    """The filter: a WSGI application before another one.

    Args:
        app: Glance, behind its authentication.
        conf: its configuration.
    """

    def __init__(self, *, app: WSGIApplication, conf: cfg.ConfigOpts) -> None:
        self._app = app
        self._conf = conf

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request for the details of stores where Glance cannot; all else is for Glance."""
        asked = environ["REQUEST_METHOD"], environ.get("PATH_INFO")
        if asked != ("GET", "/v2/info/stores/detail") or not self._has_ours():
            return self._app(environ, start_response)
        routed = {**environ, "wsgiorg.routing_args": ((), {"action": "get_stores_detail"})}
        return self._resource(routed, start_response)

    def _has_ours(self) -> bool:
        """Whether a store is of our kind; what Glance cannot read either is left to it."""
        try:
            return _OURS in (value_of(self._conf, "enabled_backends") or {}).values()
        except InvalidConfiguration:
            return False

    @cached_property
    def _resource(self) -> WSGIApplication:
        """Glance's own, with a controller that knows our kind too; only where this runs is there a Glance."""
        import glance_store  # noqa: PLC0415 - Glance and what it brings are there only where the filter runs
        from glance.api.v2 import discovery  # noqa: PLC0415 - as above
        from glance.common import wsgi  # noqa: PLC0415 - as above

        conf = self._conf

        class Stores(discovery.InfoController):
            def get_stores(self, request: Request) -> dict[str, Any]:
                listed = super().get_stores(request)["stores"]
                return {"stores": [store for store in listed if conf.enabled_backends[store["id"]] != _OURS]}

            def get_stores_detail(self, request: Request) -> dict[str, Any]:
                known = {store["id"]: store for store in super().get_stores_detail(request)["stores"]}  # or forbidden
                listed = super().get_stores(request)["stores"]
                return {"stores": [known.get(store["id"]) or self._detailed(store) for store in listed]}

            def _detailed(self, store: dict[str, Any]) -> dict[str, Any]:
                driver = glance_store.get_store_from_store_identifier(store["id"])
                properties = self._get_cinder_properties(driver)
                return {**store, "type": _SHOWN_AS, "properties": properties, "weight": conf[store["id"]].weight}

        return wsgi.Resource(Stores(), None, discovery.ResponseSerializer())
