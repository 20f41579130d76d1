"""An upload that names its base image lands in the stores of that image ([base]).

What Cinder sends with the data decides for the data.  With an import it is the import request that decides, and the
choice goes into its body: there Glance's nodes hand it on to the one that has the staged data, which headers are not.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Literal
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import attrs
from webob import Request, Response

from imagevol_adapters.closing import closed_on_failure
from imagevol_adapters.error_text import one_line
from imagevol_adapters.gathering import gather_base_image
from imagevol_adapters.middleware.asking import ask, complaint
from imagevol_core import Image, ResourceNotFound, ServiceFailed, StoreCatalogue, StoreSelection, select_stores
from imagevol_core.sentences import said

__all__ = ["CHOICE_HEADER", "BaseImageStores"]

CHOICE_HEADER = "x-openstack-imagevol-store-choice"

_LOG = logging.getLogger(__name__)
_STORE_HEADER = "x-image-meta-store"
_REFERENCE = "HTTP_X_OPENSTACK_BASE_IMAGE_REF"
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PATH = re.compile(rf"/v2/images/(?P<image>{_UUID.pattern})/(?P<what>file|stage|import)")
# A method, a URL and the names of stores: what is longer is no import, and is left to Glance.
_IMPORT_BYTES = 1 << 16


@attrs.frozen(kw_only=True)
class BaseImageStores:
    """The filter: a WSGI application before another one.

    Args:
        app: Glance, behind its authentication.
        catalogue: gives its stores as they work now.
        explains: whether answers say which store was chosen and why, in the header `x-openstack-imagevol-store-choice`.
    """

    app: WSGIApplication
    catalogue: Callable[[], StoreCatalogue]
    explains: bool = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request; the reference goes no further than here."""
        reference = environ.pop(_REFERENCE, None)
        path = _PATH.fullmatch(environ.get("PATH_INFO", ""))
        if reference is None or path is None:
            return self.app(environ, start_response)
        request = Request(environ)
        match request.method, path["what"]:
            case "PUT", "file":
                return self._upload(request, path["image"], reference)(environ, start_response)
            case "POST", "import":
                return self._import(request, path["image"], reference)(environ, start_response)
            case "PUT", "stage":
                _LOG.info("Image %s: its base image counts when it is imported, not when it is staged", path["image"])
        return self.app(environ, start_response)

    def _upload(self, request: Request, image_id: str, reference: str) -> Response:
        """The data goes to the primary store; then Glance copies it to the others."""
        selection = self._select(request, image_id, reference)
        chosen = _stores_of_base_image(selection) if selection else []
        if chosen:
            request.headers[_STORE_HEADER] = chosen[0]
        answer = request.get_response(self.app)
        with closed_on_failure(answer.app_iter):
            if chosen[1:] and 200 <= answer.status_int < 300:
                self._copy(request, image_id, chosen)
            return self._explained(answer, selection)

    def _import(self, request: Request, image_id: str, reference: str) -> Response:
        """An import takes several stores at once, from all who may import; no copies are asked for."""
        body = _import_body(request)
        if body is None:
            return request.get_response(self.app)
        selection = self._select(request, image_id, reference)
        if selection and (chosen := _stores_of_base_image(selection)):
            # As with an upload, a copy that fails is no failure of the image.
            lenient = {"all_stores_must_succeed": False} if chosen[1:] else {}
            request.body = json.dumps({**lenient, **body, "stores": chosen}).encode()
        return self._explained(request.get_response(self.app), selection)

    def _select(self, request: Request, image_id: str, reference: str) -> StoreSelection | None:
        """Collect the facts, and let the core choose; None if that fails, and then Glance chooses.

        The base image is looked up only if it could matter.
        """
        try:
            catalogue = self.catalogue()
            store_header = request.headers.get(_STORE_HEADER)
            base_image = self._base_image(request, reference) if catalogue.multi and store_header is None else None
            selection = select_stores(catalogue, store_header=store_header, base_image=base_image)
            _LOG.info("Image %s: %s", image_id, _explanation(selection))
        except Exception as error:  # noqa: BLE001 - the data comes first; what went wrong is logged
            _LOG.warning("Image %s: its base image is ignored: %s: %s", image_id, type(error).__name__, one_line(error))
            return None
        return selection

    def _base_image(self, request: Request, reference: str) -> Image | None:
        """The image and its stores, as the requester sees them; None for one that is gone or that they may not see."""
        if not _UUID.fullmatch(reference):
            return None
        return gather_base_image(reference, stores_of=partial(self._stores_of, request))

    def _stores_of(self, request: Request, image_id: str) -> Sequence[str]:
        """Ask Glance, on behalf of the requester."""
        answer, failure = self._ask(request, "GET", f"/v2/images/{image_id}")
        if answer is not None and answer.status_int in (403, 404):
            raise ResourceNotFound("image", image_id)
        if answer is None or answer.status_int != 200:
            raise ServiceFailed(failure)
        stores = _stores_in(answer.body)
        if stores is None:
            raise ServiceFailed("Glance's answer is not an image with a list of stores")
        return stores

    def _copy(self, request: Request, image_id: str, chosen: list[str]) -> None:
        """Start Glance's own copying, as far as the requester may; the image is uploaded, whatever comes of it."""
        primary, *others = chosen
        body = {"method": {"name": "copy-image"}, "stores": others, "all_stores_must_succeed": False}
        answer, failure = self._ask(request, "POST", f"/v2/images/{image_id}/import", body)
        if answer is not None and answer.status_int == 202:
            _LOG.info("Image %s: being copied to %s", image_id, ", ".join(map(said, others)))
        else:
            where = ", ".join(map(said, others))
            _LOG.warning("Image %s stays in %s and is not copied to %s: %s", image_id, said(primary), where, failure)

    def _ask(
        self, request: Request, method: Literal["GET", "POST"], path: str, body: dict[str, Any] | None = None
    ) -> tuple[Response | None, str]:
        """The answer, None where there is none, and what it complains of: nothing here may fail an upload."""
        try:
            answer = ask(self.app, request, method=method, path=path, body=body)
            return answer, "" if answer.status_int < 300 else said(complaint(answer))
        except Exception as error:  # noqa: BLE001 - the data comes first; what went wrong is logged
            return None, f"{type(error).__name__}: {one_line(error)}"

    def _explained(self, answer: Response, selection: StoreSelection | None) -> Response:
        """The answer, with the choice in a header where that is wanted."""
        if self.explains:
            choice = _explanation(selection) if selection else "left to Glance: Glance's log has the reason"
            answer.headers[CHOICE_HEADER] = choice.encode("ascii", "backslashreplace").decode()
        return answer


def _stores_of_base_image(selection: StoreSelection) -> list[str]:
    """The primary store and the copies, if the base image decided; otherwise nothing, and nothing is changed."""
    if selection.primary is None or not selection.by_base_image:
        return []
    return [selection.primary, *selection.copies]


def _explanation(selection: StoreSelection) -> str:
    """The choice and why, on one line, the rule that decided first."""
    stores = ", ".join(map(said, filter(None, [selection.primary, *selection.copies]))) or "no store"
    reasons = [selection.refused or "", *(verdict.text for verdict in reversed(selection.verdicts))]
    return said(f"{stores} ({selection.verdicts[-1].rule}): {'; '.join(filter(None, reasons))}")


def _stores_in(body: bytes) -> list[str] | None:
    """The names of the stores in Glance's answer about an image; None if it is not such an answer."""
    image = _parsed(body)
    stores = image.get("stores", "") if isinstance(image, dict) else None
    return stores.split(",") if isinstance(stores, str) else None


def _parsed(body: bytes) -> Any:
    """What JSON in UTF-8 says; None if it is not that, or cannot be written again."""
    try:
        value = json.loads(body.decode())
        json.dumps(value)  # on some releases of Python, what is nested deeply can only be read
    except (ValueError, RecursionError):
        return None
    return value


def _import_body(request: Request) -> dict[str, Any] | None:
    """What an import asks for; None where it names its stores itself, is a copy, or is nothing that Glance takes."""
    length = request.content_length
    if length is None or not 0 <= length <= _IMPORT_BYTES:
        return None
    try:
        sent = request.body_file.read(length)
    except Exception as error:  # noqa: BLE001 - Glance reads on, and answers for what it finds
        _LOG.warning("An import cannot be read and is left to Glance: %s: %s", type(error).__name__, one_line(error))
        return None
    request.body = sent  # to be read again
    body = _parsed(sent)  # whatever charset it claims: Glance takes it for UTF-8 too
    if not isinstance(body, dict) or "stores" in body or body.get("all_stores"):
        return None
    method = body.get("method")
    return body if isinstance(method, dict) and method.get("name") not in (None, "copy-image") else None
