"""What the mixin counts: volumes by the way in which they were created, templates, and what filling them takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from imagevol_adapters.metrics import DRIVER, Recorder, recorder
from imagevol_core import Way

__all__ = ["Counts", "counts_of"]


@attrs.frozen(kw_only=True)
class Counts:
    """Counts for one backend; nothing that happens here fails a request.

    Args:
        recorder: of this process.
        backend: the name of the backend's section.
    """

    recorder: Recorder
    backend: str

    def volume(self, way: str) -> None:
        """Count a volume that was created, or left to Cinder.

        Args:
            way: a value of the label `way`.
        """
        self.recorder.add(DRIVER["volumes"], way=way, backend=self.backend)

    def created(self, way: Way) -> None:
        """Count a volume that was created without Cinder's copy."""
        self.volume((Way.CLONE_TEMPLATE if way is Way.AWAIT_TEMPLATE else way).value)
        if way is Way.CLONE_TEMPLATE:
            self.recorder.add(DRIVER["template_hits"], backend=self.backend)
        self.recorder.now(DRIVER["last_success"], backend=self.backend)

    def evicted(self) -> None:
        """Count a template that was deleted for another one."""
        self.recorder.add(DRIVER["template_evictions"], backend=self.backend)

    def failed(self) -> None:
        """Count an unexpected error."""
        self.recorder.add(DRIVER["failures"], backend=self.backend)

    @contextmanager
    def filling(self, size_bytes: int | None) -> Iterator[None]:
        """Count what is written into a template while the context lasts, if it succeeds.

        Args:
            size_bytes: of the image, as stored.
        """
        begun = time.monotonic()
        yield
        self.recorder.add(DRIVER["transfer_bytes"], size_bytes or 0, backend=self.backend)
        self.recorder.add(DRIVER["transfer_seconds"], time.monotonic() - begun, backend=self.backend)


def counts_of(driver: Any) -> Counts:
    """Give the counts of a driver's backend.

    Args:
        driver: with the options of the mixin.
    """
    configuration = driver.configuration
    file = getattr(configuration, "image_clone_metrics_file", None)
    backend = getattr(configuration, "config_group", None)
    return Counts(
        recorder=recorder(file if isinstance(file, str) and file else None),
        backend=backend if isinstance(backend, str) else "DEFAULT",
    )
