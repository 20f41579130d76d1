"""A device for volumes that a library of the vendor opens, and that have no path on this host."""

from imagevol_adapters.devices import PlainDevice
from imagevol_core import DeviceFailed


class AcmeDevice(PlainDevice):
    """A volume that is open in Acme's library."""

    def __init__(self, handle, *, name, writable):
        self.handle, self.path, self.writable = handle, f"/{name}", writable

    @property
    def size_bytes(self):
        return self.handle.size

    def readinto(self, offset, buffer):
        try:
            data = self.handle.read(offset, len(buffer))  # none after the end
        except OSError as error:
            raise DeviceFailed(f"cannot read {self.path} at byte {offset}: {error}") from error
        buffer[: len(data)] = data
        return len(data)

    def write(self, offset, data):
        room = self.size_bytes - offset
        if not self.writable or room <= 0:
            raise DeviceFailed(f"cannot write {self.path} at byte {offset}: it is read-only, or ends there")
        try:
            return self.handle.write(offset, bytes(data[:room]))
        except OSError as error:
            raise DeviceFailed(f"cannot write {self.path} at byte {offset}: {error}") from error

    def flush(self):
        try:
            self.handle.flush()
        except OSError as error:
            raise DeviceFailed(f"cannot flush {self.path}: {error}") from error
