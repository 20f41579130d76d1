"""What `imagevol put` asks the services of a volume type, a store and an owner, before a byte moves."""

from __future__ import annotations

import argparse
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from imagevol_adapters.gathering import gather_catalogue
from imagevol_core import ImagevolError, PutWishes, RequestRefused, ResourceNotFound, check_put, failed

if TYPE_CHECKING:
    from imagevol_adapters.cli.app import Imagevol

__all__ = ["refuse_what_cannot_be"]


def refuse_what_cannot_be(app: Imagevol, asked: argparse.Namespace) -> None:
    """Ask Cinder, Glance and Keystone for the volume type, the store and the owner that are wished for, if any is.

    Raises:
        RequestRefused: one of them cannot be.
    """
    try:
        if asked.volume_type is not None:
            app.volumes.volume_type(asked.volume_type)
    except ResourceNotFound as error:
        raise RequestRefused(f"{error}: `openstack volume type list` lists the types that you can use") from error
    if asked.store is None and asked.owner is None:
        return
    wishes = PutWishes(store=asked.store, owner=asked.owner, project_id=app.project_id)
    if asked.owner not in (None, "", wishes.project_id):
        wishes = replace(wishes, owner_exists=app.has_project(asked.owner))
    if asked.store is not None:
        names = app.images.store_names()
        wishes = replace(wishes, store_names=names, volume_type=asked.volume_type)
        if asked.store in names:
            with suppress(ImagevolError):  # details are for administrators, and Glance fails for some drivers
                wishes = replace(wishes, stores=gather_catalogue(app.images).stores)
            if asked.volume_type is None and wishes.detail and wishes.detail.volume_type:
                with suppress(ImagevolError):
                    wishes = replace(wishes, volume_type=app.volumes.default_volume_type())
    if refused := failed(check_put(wishes)):
        raise RequestRefused("; ".join(verdict.text for verdict in refused))
