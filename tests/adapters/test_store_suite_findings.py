"""What glance_store's own tests showed of the store driver."""

from __future__ import annotations

import pytest
from glance_store.exceptions import BackendException, StorageFull

from imagevol_adapters.store.errors import translated
from imagevol_core import VolumeFailed


@pytest.mark.parametrize(
    "status, expected",
    [
        ("available", StorageFull),  # Cinder's scheduler has found no room and put it back
        ("error_extending", StorageFull),
        ("error", BackendException),
        ("error_deleting", BackendException),
    ],
)
def test_a_volume_that_cannot_grow_is_a_full_store(status: str, expected: type[Exception]) -> None:
    with pytest.raises(expected, match="no backend has room"), translated():
        raise VolumeFailed("7", status=status, wanted="what it is not", reason="no backend has room")
