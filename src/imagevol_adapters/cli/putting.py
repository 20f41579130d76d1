"""`imagevol put --journal FILE`: an image file into a volume in steps, so that a stopped command can be resumed."""

from __future__ import annotations

import argparse
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import attrs

from imagevol_adapters.cli.asking import tell
from imagevol_adapters.cli.files import STANDARD_STREAM, opened
from imagevol_adapters.cli.image_options import image_attributes
from imagevol_adapters.file_deadline import in_time
from imagevol_core import RequestRefused, needs_conversion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagevol_adapters.cli.app import Imagevol
    from imagevol_adapters.transfers import PutJournal, StoredImage

__all__ = ["add_journal_options", "put_in_steps", "refuse_what_has_no_steps"]

_SAME = ("disk_format", "register", "store", "owner", "visibility", "volume_type", "no_checksum", "digests")
"""The options that must be what they were when the journal was begun."""


def add_journal_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a transfer that can be resumed."""
    parser.add_argument(
        "--journal",
        metavar="JOURNAL",
        help="write each step to JOURNAL, a new file, and keep the volume if the command is stopped, so that --resume "
        "can continue",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue with the volume that JOURNAL names; give the file and the options as in the stopped command",
    )


def refuse_what_has_no_steps(asked: argparse.Namespace) -> None:
    """Refuse options that do not go together, and what cannot be resumed."""
    if asked.resume and not asked.journal:
        raise RequestRefused("name the journal with --journal JOURNAL")
    if asked.journal and asked.file == STANDARD_STREAM:
        raise RequestRefused("the standard input cannot be read a second time: give a file, or leave out --journal")
    if asked.journal and needs_conversion(asked.disk_format):
        raise RequestRefused(
            f"a file in {asked.disk_format} is converted in one go, and cannot be resumed: leave out --journal, or "
            "convert the file to raw first"
        )


def put_in_steps(app: Imagevol, asked: argparse.Namespace, wishes: dict[str, Any]) -> tuple[str, StoredImage]:
    """Store a file, or go on with what a stopped command stored of it.

    Args:
        app: whose services are used.
        asked: what was typed.
        wishes: what is the same of every way to store an image.
    """
    import uuid

    from imagevol_adapters.transfers import Registering, put_file

    attributes = image_attributes(asked)
    same = {f"--{name.replace('_', '-')}": getattr(asked, name) for name in _SAME}
    same["--digest"] = None if wishes["digest"] is None else str(wishes["digest"])
    same["image option"] = attrs.asdict(attributes) if asked.register else None
    registering = None
    if asked.register:
        registering = Registering(
            images=app.images,
            name=asked.register,
            store=asked.store,
            owner=asked.owner,
            visibility=asked.visibility,
            attributes=attributes,
        )
    told = tell if app.options.verbose_level else lambda _line: None
    with _journal(app, asked, same, wishes) as journal, _kept(journal, told):
        return put_file(
            asked.file,
            journal=journal,
            wishes=same,
            disk_format=asked.disk_format,
            image_id=str(uuid.uuid4()),
            image_owner=asked.owner or app.project_id,
            registering=registering,
            tell=told,
            **wishes,
        )


def _journal(app: Imagevol, asked: argparse.Namespace, same: dict[str, Any], wishes: dict[str, Any]) -> PutJournal:
    """Take up the journal, or begin one."""
    from pathlib import Path

    from imagevol_adapters.transfers import FileFacts, PutJournal

    path, cloud = Path(asked.journal), app.cloud_id()
    if asked.resume:
        return PutJournal.open(path, cloud=cloud)
    digest = wishes["digest"]
    with opened(asked.file) as (file, _):
        return PutJournal.create(
            path,
            cloud=cloud,
            file=in_time(lambda: FileFacts.of(file), asked.file),
            wishes=same,
            algorithms=dict.fromkeys([*wishes["settings"].algorithms, *([digest.algorithm] if digest else [])]),
        )


@contextmanager
def _kept(journal: PutJournal, told: Any) -> Iterator[None]:
    """Say what stays after an error; a journal of nothing does not stay."""
    try:
        yield
    except BaseException:
        state = journal.state
        with suppress(OSError, ValueError):
            if state.ended is None and state.volume_id:
                told(
                    f"Volume {state.volume_id} is kept. To continue, give the same command with --resume. To give up, "
                    f"delete it with `imagevol rm {state.volume_id}`."
                )
            elif state.ended or not state.image_id:
                journal.path.unlink()
        raise
