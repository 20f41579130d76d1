"""Trying a backend: all trials, in the time that there is, and what they have shown."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from imagevol_adapters.ports import Attacher, VolumeService
from imagevol_adapters.trial_volumes import TrialVolumes
from imagevol_adapters.validating.bench import Bench
from imagevol_adapters.validating.clone_trials import CLONE_TRIALS, try_clones
from imagevol_adapters.validating.suites import run_suites
from imagevol_adapters.validating.volume_trials import try_new_volume, try_volume_data
from imagevol_core import ValidationFacts

__all__ = ["try_backend"]

_WAIT_SECONDS = 60  # for one step, so that a backend that hangs does not take all the time
_CLEANING_SECONDS = 60


def _silent(_: str) -> None:
    """Tell nothing."""


def try_backend(
    volumes: VolumeService,
    attacher: Attacher,
    *,
    name: str,
    volume_type: str | None = None,
    backend: str | None = None,
    clones: int = 4,
    suites: bool = True,
    seconds: float = 300,
    clock: Callable[[], float] = time.monotonic,
    told: Callable[[str], None] = _silent,
) -> ValidationFacts:
    """Try what a backend does with volumes of 1 GiB, and delete all of them again.

    Nothing that fails ends it: each trial that could not be made says why.  An interrupt deletes what was created and
    is raised; what could not be deleted is in its notes.

    Args:
        volumes: where the volumes are created.
        attacher: connects them to this host.
        name: of the store or the backend that is asked for.
        volume_type: of the volumes; Cinder's default when None.
        backend: the section of the backend in which the volumes must be; None if any will do.
        clones: how many clones one volume gets, 1 at least.
        suites: whether the conformance suites run too, if pytest is installed.
        seconds: how long it may take; the last minute of it is for cleaning up.
        clock: counts seconds.
        told: is called with the name of each group of trials before it begins.
    """
    if hasattr(volumes, "wait_seconds"):  # of a real Cinder
        waits = min(float(volumes.wait_seconds), _WAIT_SECONDS, seconds)
        volumes = attrs.evolve(volumes, wait_seconds=waits, attach_attempts=1)  # type: ignore[misc]
    trial = TrialVolumes(volumes=volumes, procedure="validate", volume_type=volume_type, clock=clock)
    cleaning = min(_CLEANING_SECONDS, seconds / 5)
    bench = Bench(trial=trial, attacher=attacher, deadline=clock() + seconds - cleaning, clock=clock, told=told)
    try:
        _try_all(bench, clones=clones, suites=suites)
    except BaseException as error:  # an interrupt: what the suites had created is still there
        for each in trial.left():
            error.add_note(f"left behind: {each}")
        raise
    told("cleaning up")
    left = trial.left()
    if left:
        left += tuple(each for each in bench.left if each not in left)
    first = bench.made[0] if bench.made else None
    return ValidationFacts(
        name=name,
        volume_type=first.volume_type if first else volume_type,
        pools=tuple(dict.fromkeys(place for each in bench.made if (place := each.cluster_name or each.host))),
        backend=backend,
        encrypted=first.encrypted if first else None,
        seen=bench.seen,
        left=left,
    )


def _try_all(bench: Bench, *, clones: int, suites: bool) -> None:
    try_volume_data(bench)
    with bench.trying("a new volume", "fresh-zeros", *CLONE_TRIALS), bench.created() as volume:
        try_new_volume(bench, volume)
        try_clones(bench, volume, clones=clones)
    first = next(iter(bench.made), None)
    if suites and first is not None and not first.encrypted and first.volume_type is not None:
        run_suites(bench, volume_type=first.volume_type, multiattach=bool(first.multiattach))
