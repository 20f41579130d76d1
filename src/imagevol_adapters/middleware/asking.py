"""Ask the application behind the filter something else, on behalf of the same requester.

A request within a request, not a look into Glance's code: the API is documented and versioned, and whatever Glance
checks on the way (who may see an image, who may copy one, quotas, locks) is checked as if the requester had asked.  The
requester is known already: authentication stands before the filter, and what it found travels in the environment.
"""

from __future__ import annotations

from typing import Any, Literal
from wsgiref.types import WSGIApplication

from webob import Request, Response

__all__ = ["ask", "complaint"]

# What speaks of the body or of the answer of the request at hand, and not of who asks.  Under uWSGI, Glance would read
# the body of a request that says `chunked` from the socket, whatever `wsgi.input` is: it would eat the image.
_NOT_OF_THE_REQUESTER = (
    "HTTP_ACCEPT",
    "HTTP_CONTENT_",
    "HTTP_EXPECT",
    "HTTP_IF_",
    "HTTP_RANGE",
    "HTTP_TE",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_X_IMAGE_META_",
    "HTTP_X_OPENSTACK_BASE_IMAGE_REF",
    "HTTP_X_OPENSTACK_IMAGE_SIZE",
)
_READ = 1000  # bytes of what an answer complains of


def ask(
    app: WSGIApplication,
    request: Request,
    *,
    method: Literal["GET", "POST"],
    path: str,
    body: dict[str, Any] | None = None,
) -> Response:
    """Ask `app` for `path` with the rights of `request`, whose body is not touched.

    Args:
        app: what stands behind the filter.
        request: the one at hand.
        method: of the request to make.
        path: of the request to make, as Glance routes it, from `/v2` on.
        body: sent as JSON.

    Returns:
        The answer, whatever its status, with its whole body.

    Raises:
        Exception: what the application raises.
    """
    asked = request.copy_get()
    for name in [name for name in asked.environ if name.startswith(_NOT_OF_THE_REQUESTER)]:
        del asked.environ[name]
    # The attributes of the request (Glance's context is one) are a dictionary, which the copy shares.
    if (attributes := asked.environ.get("webob.adhoc_attrs")) is not None:
        asked.environ["webob.adhoc_attrs"] = dict(attributes)
    asked.method = method
    asked.path_info = path
    asked.query_string = ""
    if body is not None:
        asked.content_type = "application/json"
        asked.json_body = body
    answer = asked.get_response(app)
    answer.body  # noqa: B018 - reads it to its end, and closes what the application gave
    return answer


def complaint(answer: Response) -> str:
    r"""Give on one line what an answer that is no success says.

    >>> complaint(Response(status=403, text="403 Forbidden\n\nYou may not.\n\n   "))
    '403 Forbidden: You may not.'
    """
    told = " ".join(answer.body[:_READ].decode(errors="replace").split()) if answer.charset else ""
    told = told.removeprefix(answer.status).strip()
    return f"{answer.status}: {told}" if told else answer.status
