"""Metrics: the format, how many series there are, files of several processes; no work waits or fails for them."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imagevol_adapters.metrics import (
    AUDIT,
    DRIVER,
    STORE,
    TABLES,
    Kind,
    Recorder,
    Sample,
    exposition,
    recorder,
    series_of,
    write_textfile,
)
from imagevol_adapters.relocating import State
from imagevol_adapters.tending.warming import WarmState
from imagevol_core import RequestRefused
from imagevol_core.store_copies import StoreCopyWay

CHOSEN = {"backend": "fast", "store": "fast", "rule": "not-read-only"}
recording = sys.modules["imagevol_adapters.metrics.recording"]

Series = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Series:
    """The values by name and labels, read by the parser of Prometheus' own library."""
    assert text.endswith("\n")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def checked(text: str) -> None:
    """What promtool says of it, if there is one; it names what differs from Prometheus' rules for names and texts."""
    if (program := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    ran = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def samples(table: str) -> list[Sample]:
    return [
        Sample(series=series, labels=labels, value=number + 0.5)
        for number, (series, labels) in enumerate(series_of(TABLES[table], **CHOSEN))
    ]


class TestFormat:
    @pytest.mark.parametrize("table", TABLES)
    def test_what_is_written_is_read_by_the_library_of_prometheus(self, table: str) -> None:
        found = parsed(exposition(samples(table), more={"worker": "3"}))
        assert found == {
            (sample.series.name, tuple(sorted({**sample.labels, "worker": "3"}.items()))): sample.value
            for sample in samples(table)
        }

    @pytest.mark.parametrize("table", TABLES)
    def test_promtool_has_nothing_to_say(self, table: str) -> None:
        checked(exposition(samples(table), more={"worker": "0"}))

    @pytest.mark.parametrize("value", ['a"b', "a\\nb\\", "a\nb", "ä", "{}", "", "x" * 300])
    def test_a_label_can_have_any_value(self, value: str) -> None:
        text = exposition([Sample(series=STORE["bytes"], labels={"store": value, "direction": "read"}, value=1)])
        assert list(parsed(text)) == [(STORE["bytes"].name, (("direction", "read"), ("store", value)))]

    @pytest.mark.parametrize("value", [0, 1, 1.5, 1e300, 2**63, float("nan"), float("inf"), float("-inf")])
    def test_any_number_can_be_written(self, value: float) -> None:
        (found,) = parsed(exposition([Sample(series=AUDIT["reclaimable"], value=value)])).values()
        assert found == pytest.approx(value, nan_ok=True)

    @pytest.mark.parametrize("table", TABLES)
    def test_a_store_and_a_backend_have_ten_series_at_most(self, table: str) -> None:
        of = [labels for _, labels in series_of(TABLES[table], **CHOSEN) if {"store", "backend"} & labels.keys()]
        assert len(of) <= 10
        assert bool(of) == (table in ("driver", "store", "cp"))

    @pytest.mark.parametrize("table", TABLES)
    def test_each_series_comes_once(self, table: str) -> None:
        found = [(series.name, *labels.items()) for series, labels in series_of(TABLES[table], **CHOSEN)]
        assert len(found) == len(set(found)) > 0

    def test_the_values_of_each_label_are_known_or_chosen_by_the_operator(self) -> None:
        unknown = {
            name
            for table in TABLES.values()
            for series in table.values()
            for name, values in series.labels.items()
            if not values
        }
        assert unknown == {"backend", "store", "rule"}  # of a rule it is the id of a row

    def test_no_label_is_an_id(self) -> None:
        names = {name for table in TABLES.values() for series in table.values() for name in series.labels}
        assert names == {*("backend", "certainty", "command", "direction", "outcome", "rule", "state", "store", "way")}

    def test_a_counter_is_named_as_one(self) -> None:
        for series in (series for table in TABLES.values() for series in table.values()):
            assert series.name.endswith("_total") == (series.kind is Kind.COUNTER)
            assert series.name.startswith("imagevol_")

    def test_the_page_of_metrics_has_each_table_once(self) -> None:
        page = (Path(__file__).parents[2] / "docs/production/metrics.md").read_text()
        tables = [name for line in re.findall(r"^```\{metrics\} (.*)$", page, re.MULTILINE) for name in line.split()]
        assert sorted(tables) == sorted(TABLES)

    def test_the_outcomes_that_are_counted_are_all_that_there_are(self) -> None:
        ends = {state.value for state in State} - {"planned", "begun", "undoing"}
        assert set(TABLES["locations"]["images"].labels["outcome"]) == ends
        assert set(TABLES["templates"]["warmed"].labels["outcome"]) == {state.value for state in WarmState} - {
            "planned"
        }
        assert set(TABLES["cp"]["bytes"].labels["way"]) == {way.value for way in StoreCopyWay} - {"nothing", "refused"}

    def test_a_file_that_is_not_of_imagevol_is_kept(self, tmp_path: Path) -> None:
        file = tmp_path / "node.prom"
        file.write_text("# HELP node_up Up.\n")
        with pytest.raises(RequestRefused, match="holds something else"):
            write_textfile(file, samples("audit"))

    def test_every_user_of_the_host_can_read_the_file(self, tmp_path: Path) -> None:
        before = os.umask(0o022)
        try:
            write_textfile(tmp_path / "imagevol.prom", samples("audit"))
        finally:
            os.umask(before)
        assert (tmp_path / "imagevol.prom").stat().st_mode & 0o777 == 0o644


@pytest.fixture
def recorders(tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders of a file."""
    made: list[Recorder] = []

    def make(file: str | None = str(tmp_path / "imagevol.prom")) -> Recorder:
        made.append(Recorder(file, pause_seconds=0))
        return made[-1]

    yield make
    for each in made:
        each.close()


def of(file: Path) -> Series:
    return parsed(file.read_text())


FAST = (("backend", "fast"), ("worker", "0"))


class TestRecorder:
    def test_counts_are_added_up_and_written(self, recorders: Callable[..., Recorder], tmp_path: Path) -> None:
        found = recorders()
        for value in (1, 2.5):
            found.add(DRIVER["transfer_seconds"], value, backend="fast")
        found.add(DRIVER["last_success"], 7, backend="fast")
        found.add(DRIVER["last_success"], 5, backend="fast")
        assert found.flush(seconds=60)
        assert of(tmp_path / "imagevol-0.prom") == {
            (DRIVER["transfer_seconds"].name, FAST): 3.5,
            (DRIVER["last_success"].name, FAST): 5,
        }
        checked((tmp_path / "imagevol-0.prom").read_text())

    def test_without_a_file_nothing_is_written(self, recorders: Callable[..., Recorder], tmp_path: Path) -> None:
        recorders(None).add(DRIVER["failures"], backend="fast")
        assert list(tmp_path.iterdir()) == []

    def test_all_stores_with_one_file_share_it(self) -> None:
        assert recorder("a-file") is recorder("a-file")
        assert recorder("a-file") is not recorder("another")

    def test_each_process_has_a_file_and_a_number_that_the_next_one_takes(
        self, recorders: Callable[..., Recorder], tmp_path: Path
    ) -> None:
        first, second = recorders(), recorders()
        for number, each in enumerate((first, second)):
            each.add(DRIVER["failures"], number + 1, backend="fast")
            assert each.flush(seconds=60)
        assert sorted(tmp_path.glob("*.prom")) == [tmp_path / "imagevol-0.prom", tmp_path / "imagevol-1.prom"]
        first.close()
        third = recorders()
        third.add(DRIVER["failures"], 5, backend="fast")
        assert third.flush(seconds=60)
        assert len(list(tmp_path.glob("*.prom"))) == 2
        assert of(tmp_path / "imagevol-0.prom") == {(DRIVER["failures"].name, FAST): 5}

    def test_a_forked_process_counts_anew_and_in_a_file_of_its_own(
        self, recorders: Callable[..., Recorder], tmp_path: Path
    ) -> None:
        found = recorders()
        found.add(DRIVER["failures"], 3, backend="fast")
        assert found.flush(seconds=60)
        child = os.fork()
        if child == 0:
            found.add(DRIVER["failures"], 1, backend="fast")
            os._exit(0 if found.flush() else 1)
        assert os.waitpid(child, 0)[1] == 0
        found.add(DRIVER["failures"], 1, backend="fast")
        assert found.flush(seconds=60)
        values = [sum(of(tmp_path / f"imagevol-{number}.prom").values()) for number in (0, 1)]
        assert values == [4, 1]

    @pytest.mark.parametrize("file", ["none/imagevol.prom", "directory", "fifo.prom"])
    def test_a_file_that_cannot_be_written_is_warned_of_once_and_nothing_fails(
        self, recorders: Callable[..., Recorder], tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str
    ) -> None:
        (tmp_path / "directory-0.prom").mkdir()
        os.mkfifo(tmp_path / "fifo-0.prom")
        found = recorders(str(tmp_path / file))
        for _ in range(5):
            found.add(DRIVER["failures"], backend="fast")
            found.flush(0.2)
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert warnings[0].startswith("Metrics cannot be written, and the work goes on without them: ")

    def test_nothing_waits_for_a_disk_that_hangs(
        self, recorders: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def hang(*arguments: Any, **more: Any) -> None:
            entered.set()
            go_on.wait(30)
            write_textfile(*arguments, **more)

        monkeypatch.setattr(recording, "write_textfile", hang)
        found = recorders()
        found.add(DRIVER["failures"], backend="fast")
        assert entered.wait(30)
        for _ in range(10_000):
            found.add(DRIVER["failures"], backend="fast")
        assert not (tmp_path / "imagevol-0.prom").exists()
        go_on.set()
        assert found.flush(30)
        assert of(tmp_path / "imagevol-0.prom") == {(DRIVER["failures"].name, FAST): 10_001}

    def test_an_error_while_counting_is_no_error_of_the_work(
        self, recorders: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
    ) -> None:
        found: Any = recorders()
        for _ in range(3):
            found.add(None, backend="fast")
        assert [record.getMessage() for record in caplog.records] == ["Metrics are not counted"]

    def test_the_thread_that_writes_is_started_again_if_it_died_before_it_began(
        self, recorders: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts = recorders()
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "run", lambda _: None)
            counts.add(DRIVER["transfer_seconds"], 7, backend="fast")
        counts.add(DRIVER["transfer_seconds"], 1, backend="fast")
        assert counts.flush(seconds=60)
        assert of(tmp_path / "imagevol-0.prom") == {(DRIVER["transfer_seconds"].name, FAST): 8}

    def test_many_threads_lose_no_count(self, recorders: Callable[..., Recorder], tmp_path: Path) -> None:
        found = recorders()

        def count() -> None:
            for _ in range(500):
                found.add(DRIVER["volumes"], backend="fast", way="clone-template")

        threads = [threading.Thread(target=count) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found.flush(seconds=60)
        assert list(of(tmp_path / "imagevol-0.prom").values()) == [4000]

    @pytest.mark.skipif(find_spec("eventlet") is None, reason="eventlet is not installed: install os-brick")
    def test_in_a_process_that_eventlet_has_patched_greenlets_go_on(self, tmp_path: Path) -> None:
        program = """
import eventlet
eventlet.monkey_patch()
import sys
from imagevol_adapters.metrics import DRIVER, recorder
found = recorder(sys.argv[1])
turns = []
def work():
    for _ in range(50):
        found.add(DRIVER["failures"], backend="fast")
        turns.append(1)
        eventlet.sleep(0)
for each in [eventlet.spawn(work) for _ in range(4)]:
    each.wait()
for _ in range(500):
    if found._written == found._changes:
        break
    eventlet.sleep(0.02)
print(len(turns), found._written)
"""
        ran = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "imagevol.prom")],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout.split() == ["200", "200"]
        assert of(tmp_path / "imagevol-0.prom") == {(DRIVER["failures"].name, FAST): 200}


class TestOpenTelemetry:
    def test_what_is_counted_is_handed_to_its_api(
        self, recorders: Callable[..., Recorder], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        metrics = pytest.importorskip("opentelemetry.metrics")
        seen: list[Any] = []

        def instrument(kind: str) -> Callable[..., Any]:
            def make(name: str, *, unit: str, description: str) -> Any:
                def record(value: float, attributes: Mapping[str, str]) -> None:
                    seen.append((kind, name, unit, value, dict(attributes)))

                return SimpleNamespace(add=record, set=record)

            return make

        meter = SimpleNamespace(create_counter=instrument("counter"), create_gauge=instrument("gauge"))
        monkeypatch.setattr(metrics, "get_meter", lambda name: meter if name == "imagevol" else None)
        found = recorders(None)
        found.add(STORE["bytes"], 5, store="fast", direction="read")
        found.add(STORE["last_success"], 7, store="fast", direction="read")
        labels = {"store": "fast", "direction": "read"}
        assert seen == [
            ("counter", "imagevol.store.transfer_bytes", "By", 5, labels),
            ("gauge", "imagevol.store.last_success_timestamp_seconds", "s", 7, labels),
        ]

    def test_its_own_api_takes_what_is_counted(
        self, recorders: Callable[..., Recorder], caplog: pytest.LogCaptureFixture
    ) -> None:
        pytest.importorskip("opentelemetry.metrics")
        found = recorders(None)
        for table in (DRIVER, STORE):
            for series, labels in series_of(table, **CHOSEN):
                found.add(series, 1, **labels)
        assert caplog.messages == []

    def test_without_it_counting_goes_on(
        self, recorders: Callable[..., Recorder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry", None)
        found = recorders()
        found.add(DRIVER["failures"], backend="fast")
        assert found.flush(seconds=60)
        assert (tmp_path / "imagevol-0.prom").exists()
