"""The pools in which Cinder's scheduler creates volumes."""

from __future__ import annotations

import attrs

__all__ = ["Pool"]


@attrs.frozen(kw_only=True)
class Pool:
    """A pool that Cinder's scheduler knows.

    Attributes:
        name: `host@backend#pool`, or `cluster@backend#pool` if Cinder runs active-active.
        backend_name: what its driver reports as `volume_backend_name`.
        clone_across_pools: whether its backend clones from one of its pools into another.
        protocols: what its driver reports as `storage_protocol`, which may be several names.
    """

    name: str
    backend_name: str | None = None
    clone_across_pools: bool = False
    protocols: tuple[str, ...] = ()
