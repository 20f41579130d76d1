"""The file of `--rates`: how fast a host is, as `imagevol doctor --rates` wrote it."""

from __future__ import annotations

import json
from pathlib import Path

from imagevol_adapters.file_deadline import in_time
from imagevol_adapters.opening import read_file
from imagevol_core import InvalidFact, Rates, RequestRefused, Volume
from imagevol_core.sentences import said

__all__ = ["measured_elsewhere", "read_rates"]

_LONGEST_BYTES = 1 << 20
_WRITE_IT = "write it with `imagevol doctor --rates`"


def read_rates(file: Path, *, option: str = "--rates") -> Rates:
    """Read the file.

    Args:
        file: that a person names.
        option: which names it.

    Raises:
        RequestRefused: it cannot be read, or is no file of rates.
    """
    try:
        return Rates.from_dict(json.loads(in_time(lambda: read_file(file, longest_bytes=_LONGEST_BYTES), file)))
    except InvalidFact as error:  # which is a ValueError too
        raise RequestRefused(f"{option}: {said(file)}: {error}") from error
    except OSError as error:
        raise RequestRefused(f"{option}: {said(file)} cannot be read: {error.strerror}: {_WRITE_IT}") from error
    except (ValueError, RecursionError) as error:
        raise RequestRefused(f"{option}: {said(file)} is not JSON: {_WRITE_IT}") from error


def measured_elsewhere(rates: Rates, target: Volume) -> str | None:
    """Say that the rates are those of another place than the new volume's, or may be; None if they are of its own.

    >>> rates = Rates(host="node", volume_type="fast", backend="node@fast#one")
    >>> measured_elsewhere(rates, Volume(id="v", size_gib=1, host="node@fast#one", volume_type="fast")) is None
    True
    >>> measured_elsewhere(rates, Volume(id="v", size_gib=1, host="node@slow#one"))
    'measured on node@fast#one; this volume is on node@slow#one'
    """
    place, kind = target.cluster_name or target.host, target.volume_type
    if rates.backend not in (place, target.host):
        return f"measured on {_of(rates.backend, 'backend')}; this volume is on {said(place)}"
    if kind is not None and rates.volume_type != kind:
        return f"measured with {_of(rates.volume_type, 'volume type')}; this volume is of {said(kind)}"
    return None


def _of(name: str | None, what: str) -> str:
    return f"a {what} that the file does not name" if name is None else said(name)
