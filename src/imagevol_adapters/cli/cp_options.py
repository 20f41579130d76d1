"""Which options of `imagevol cp` do not go together."""

from __future__ import annotations

import argparse

from imagevol_adapters.cli.offered_job import refuse_unused
from imagevol_adapters.file_deadline import is_there
from imagevol_core import RequestRefused
from imagevol_core.sentences import said
from imagevol_core.store_copies import VerifyWish

__all__ = ["refuse_together"]


def refuse_together(asked: argparse.Namespace) -> None:
    """Refuse options that do not go together, before anything is asked.

    Args:
        asked: the options of the command.

    Raises:
        RequestRefused: there are some.
    """
    target = asked.to_store or asked.to_backend
    if asked.metrics and (asked.undo or asked.dry_run):
        raise RequestRefused("--metrics counts what was copied: leave it out with --undo and --dry-run")
    reads = (asked.move or asked.resume or asked.undo) and asked.verify != VerifyWish.GLANCE.value
    if asked.trust_recorded and not reads:
        raise RequestRefused("--trust-recorded is for copies that this host reads: leave it out, or pass --move")
    _refuse_with_board(asked)
    if asked.resume or asked.undo:
        if not asked.journal:
            raise RequestRefused("name the journal with --journal FILE")
        if target or asked.images or asked.from_store or asked.move:
            raise RequestRefused("the journal says what is copied: give --journal, and neither images nor stores")
        return
    if not target:
        raise RequestRefused("name the store with --to-store STORE, or a backend with --to-backend HOST@BACKEND")
    if not asked.images and not asked.from_store:
        raise RequestRefused("name images, or with --from-store STORE all images of a store")
    many = len(asked.images) != 1
    if (many or asked.move or asked.from_store) and not (asked.journal or asked.dry_run):
        raise RequestRefused("name a journal with --journal FILE, from which the copies can be resumed and undone")
    if asked.journal and is_there(asked.journal):
        raise RequestRefused(f"journal {said(asked.journal)} exists: give another name, or go on with it by --resume")


def _refuse_with_board(asked: argparse.Namespace) -> None:
    refuse_unused(asked, works_here=asked.undo)
    if not asked.board or asked.undo:
        return
    if asked.trust_recorded:
        raise RequestRefused("with --board the workers read: pass --trust-recorded to `imagevol fleet work`")
    if not asked.resume and (asked.images or not asked.from_store):
        raise RequestRefused("with --board all images of a store are copied: pass --from-store STORE, and no images")
