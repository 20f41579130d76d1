"""A `glance-api.conf` of one store becomes one of several: planned by the core, written beside or in place."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from imagevol_adapters.configuration.stores import LONGEST_FILE, load, value_of
from imagevol_adapters.configuration.text import ConfigurationText, difference
from imagevol_adapters.opening import read_file
from imagevol_core import (
    ConfigurationEdit,
    ImagevolError,
    InvalidConfiguration,
    RequestRefused,
    StoreUpgrade,
    plan_store_upgrade,
)
from imagevol_core.sentences import said

__all__ = ["FileUpgrade", "plan_file_upgrade", "write_beside", "write_in_place"]

_SINGLE = "glance_store"


@attrs.frozen(kw_only=True)
class FileUpgrade:
    """What becomes of a configuration file.

    Attributes:
        file: its path, as it was given.
        before: what is in it.
        after: what shall be.
        plan: the core's edits, or why there are none.
    """

    file: Path
    before: ConfigurationText = attrs.field(repr=False)
    after: ConfigurationText = attrs.field(repr=False)
    plan: StoreUpgrade

    @property
    def difference(self) -> str:
        """What is changed, as a unified diff without secrets."""
        return difference(self.before, self.after)


def plan_file_upgrade(
    file: Path,
    *,
    names: Mapping[str, str | None],
    default_volume_type: str | None,
    new_stores: Mapping[str, Mapping[str, str]] = {},
    default: str | None = None,
) -> FileUpgrade:
    """Plan what a file becomes; nothing is written.

    Args:
        file: the one `glance-api.conf` that has the options of the stores; no other file is looked at.
        names: as for `plan_store_upgrade`, like all that follow.
        default_volume_type: Cinder's.
        new_stores: further cinder stores.
        default: the name of the default store.

    Raises:
        InvalidConfiguration: the file cannot be read, or is malformed; or a value that moves would become another one.
    """
    before = ConfigurationText.parse(_read(file), name=str(file))
    plan = plan_store_upgrade(
        before.values(), names=names, default_volume_type=default_volume_type, new_stores=new_stores, default=default
    )
    upgrade = FileUpgrade(file=file, before=before, after=before.edited(plan.edits), plan=plan)
    _hold_references(upgrade)
    return upgrade


def write_beside(upgrade: FileUpgrade, target: Path) -> None:
    """Write the new file, with owner and mode of the old one, to a place where there is none yet.

    Raises:
        RequestRefused: it cannot be written there, or there is something.
    """
    with _written_whole(upgrade, target.parent, target) as partial:
        try:
            target.hardlink_to(partial)  # unlike a rename, it does not replace what is there
        except FileExistsError as error:
            advice = "move it away, or name another file with --output"
            raise RequestRefused(f"{target} exists already: {advice}") from error


def write_in_place(upgrade: FileUpgrade) -> Path:
    """Put the new file in the place of the old one, in one step, and keep the old one beside it.

    What a symbolic link names is replaced, and not the link.

    Returns:
        Where the old one is, by its name with `.orig` after it.

    Raises:
        RequestRefused: it cannot be written, there is such a copy already, or the file is not as it was planned on.
    """
    file = upgrade.file.resolve()
    kept = file.with_name(f"{file.name}.orig")
    with _written_whole(upgrade, file.parent, file) as partial:
        if _read(file) != str(upgrade.before):
            raise RequestRefused(f"{file} has been changed meanwhile, and is left as it is; begin again")
        try:
            kept.hardlink_to(file)
        except FileExistsError as error:
            raise RequestRefused(f"{kept} exists already: move it away, then run the command again") from error
        try:
            partial.replace(file)
        except OSError:
            kept.unlink()
            raise
    return kept


def _read(file: Path) -> str:
    try:
        return read_file(file, longest_bytes=LONGEST_FILE).decode()
    except UnicodeDecodeError:
        where, reason = str(file), "not all of it is text in UTF-8"
    except OSError as error:
        where, reason = said(file), str(error.strerror)
    raise InvalidConfiguration(where, reason)


def _hold_references(upgrade: FileUpgrade) -> None:
    """Refuse where a value is made of others, and would find them no more, or different ones, in its new section."""
    moved = [edit for edit in upgrade.plan.edits if edit.after and "$" in edit.after and edit.section != _SINGLE]
    if not moved:
        return
    with _in_memory(str(upgrade.before)) as before, _in_memory(str(upgrade.after)) as after:
        old, new = load([before]), load([after])
        for edit in moved:
            if _followed(old, edit, _SINGLE) != _followed(new, edit, edit.section):
                where = f"{upgrade.file}, [{_SINGLE}] {edit.option}"
                reason = f"it refers to an option, and would be something else in [{edit.section}]; write it out"
                raise InvalidConfiguration(where, reason)


def _followed(conf: Any, edit: ConfigurationEdit, section: str) -> object:
    try:
        return value_of(conf, edit.option, section=section)
    except InvalidConfiguration:  # it refers to what only Glance knows
        return InvalidConfiguration


@contextmanager
def _in_memory(text: str) -> Iterator[Path]:
    """A file for oslo.config, which reads no text; on no disk, because of the passwords in it."""
    descriptor = os.memfd_create("glance-api.conf")
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode())
        file.flush()
        yield Path(f"/proc/self/fd/{descriptor}")


@contextmanager
def _written_whole(upgrade: FileUpgrade, directory: Path, target: Path) -> Iterator[Path]:
    """The new text in a file of no lasting name, with all that the old one has: owner, mode, labels."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=".imagevol-", dir=directory)  # however long the name is
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                old = upgrade.file.stat()
                os.fchown(descriptor, old.st_uid, old.st_gid)
                shutil.copystat(upgrade.file, partial)
                os.utime(partial)
                file.write(str(upgrade.after).encode())
                file.flush()
                os.fsync(descriptor)
            yield partial
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
    except ImagevolError:
        raise  # some are the operating system's errors too
    except OSError as error:
        advice = "do it as root" if isinstance(error, PermissionError) else "give a new file in a directory with room"
        raise RequestRefused(f"{target} cannot be written: {error.strerror}; {advice}") from error
