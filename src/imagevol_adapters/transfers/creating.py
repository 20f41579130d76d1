"""A volume that is not lost with Cinder's answer: if none comes, the volume is looked for and deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from imagevol_adapters.cleanup import released, undone_on_failure
from imagevol_adapters.keystone import never_sent
from imagevol_adapters.ports import VolumeService
from imagevol_adapters.transfers.attaching import delete_volume
from imagevol_core import CallerError, Volume

__all__ = ["answered"]


def answered(ask: Callable[[], Volume], *, volumes: VolumeService, name: str, metadata: Mapping[str, str]) -> Volume:
    """Ask for a volume; if it is not known what Cinder did, as after an interrupt, delete what it has created.

    Args:
        ask: asks for it, by this name and with this metadata.
        volumes: where it is looked for.
        name: of the volume.  With the metadata it is that of no other volume.
        metadata: what the volume has from its first moment.

    Raises:
        ImagevolError: what `ask` raises.  A volume that could not be looked for or deleted is in its `leftovers`.
    """
    try:
        return ask()
    except CallerError:  # a refusal is an answer
        raise
    except BaseException as error:
        if never_sent(error):
            raise
        with undone_on_failure(f"volume {name}, if Cinder has created it", partial(_deleted, volumes, name, metadata)):
            raise


def _deleted(volumes: VolumeService, name: str, metadata: Mapping[str, str]) -> None:
    for volume in volumes.named(name):
        if metadata.items() <= volume.metadata.items():
            with released(f"volume {volume.id}", partial(delete_volume, volumes, volume.id)):
                pass
