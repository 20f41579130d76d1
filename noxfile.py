"""Every check of the project, each as a nox session; plain `nox` runs what `make test` promises.

The tests run against the wheel, built once per run, never against the tree: what is not in the
wheel is not there.  Environments are kept, and pip is asked again only when the constraints or the
dependencies have changed, so that a second run costs seconds.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nox

sys.path.insert(0, str(Path(__file__).parent))  # where nox does not look
from tests import installing
from tests.installing import candidates, find_pythons, has_wheel, identity, runs

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = True
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).parent
# Sessions on another Python than the first one found have a directory of their own there: see `patches`.
ON_LOCK_SERVICES = (
    "tests/adapters/test_coordination.py",
    "tests/adapters/test_many_hosts_page.py",
    "tests/adapters/test_offered_copies.py",
    "tests/adapters/test_offered_locations.py",
    "tests/adapters/test_offered_templates.py",
)
NOX = ROOT / os.environ.get("IMAGEVOL_NOX", ".nox")
nox.options.envdir = str(NOX)
CONSTRAINTS = ROOT / "constraints.txt"
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
SUPPORTED = nox.project.python_versions(PROJECT)
OLDEST = SUPPORTED[0]
SERVICES_PYTHON = "3.11"  # the one that the pinned releases of the services are run on

OLDEST_TESTS = f"tests-{OLDEST.replace('.', '-')}"  # what nox calls that environment
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1  # that this process may use
# One more than there are cores, since many tests wait for a process or a service in memory.
PARALLEL = [f"--numprocesses={CORES + 1}", "--dist=worksteal"]
# Where a module's fixtures are processes with the services' code, of which more would only wait for each other.
BY_MODULE = ["--numprocesses=auto", "--maxprocesses=2", "--dist=loadfile"]
CORE_TESTS = "tests/core"
OTHER_TESTS = [f"tests/{group}" for group in ("adapters", "conformance", "typing", "docs", "faults")]
LIBRARY_TESTS = [CORE_TESTS, *OTHER_TESTS]


PYTHONS = find_pythons(SUPPORTED)
# What plain `nox` runs; CONTRIBUTING.md names what else there is.
nox.options.sessions = ["check"]
ON_ALL_CORES = ["lint", "typing", f"tests-{next(iter(PYTHONS), OLDEST)}", "upstream"]
BESIDE = ["smoke", "docs"]  # of which the first waits for real services most of the time


def own(session: nox.Session) -> Path:
    """Give the Python of the session's own environment."""
    return made(session, Path(session.virtualenv.location), str(session.python))


def shared(session: nox.Session, name: str, *, version: str = OLDEST) -> Path:
    """Give the Python of an environment that sessions share; nox itself keeps one for each."""
    if version not in PYTHONS:
        session.error(f"Python {version} is needed and not found: apt-get install python{version}")
    return made(session, NOX / name, version)


def made(session: nox.Session, environment: Path, version: str) -> Path:
    """Give the Python of an environment, made anew if it is not of the Python that was found."""
    python = environment / "bin" / "python"
    if not python.exists() or identity(str(python)) != identity(PYTHONS[version]):
        command = [sys.executable, "-m", "virtualenv", "--quiet", "--clear", "--no-periodic-update"]
        session.run_install(*command, "-p", PYTHONS[version], str(environment), external=True)
    return python


def run(session: nox.Session, python: Path, *arguments: str, installs: bool = False, **options: Any) -> None:
    """Run a module in an environment, with the environment's commands first on the PATH.

    With `--install-only`, only what installs is run.
    """
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    environment = {"PATH": path} | options.pop("env", {})
    execute = session.run_install if installs else session.run
    execute(str(python), "-m", *arguments, external=True, env=environment, **options)


@functools.cache
def wheel() -> Path:
    """Give the wheel that is tested."""
    return installing.wheel(ROOT, NOX / "wheel")


def group(*names: str) -> tuple[str, ...]:
    """Give the requirements of these dependency groups."""
    return nox.project.dependency_groups(PROJECT, *names)


def install(
    session: nox.Session, python: Path, *groups: str, pins: Path | None = CONSTRAINTS, tested: bool = True
) -> None:
    """Install these groups, and what is tested: the wheel with all its extras; pip resolves only after a change."""
    pinned = ["--constraint", str(pins)] if pins else ["--upgrade"]
    asked = [*group(*groups), repr(EXTRAS) if tested else "", pins.read_text() if pins else ""]
    wanted = hashlib.sha256("\n".join(asked).encode()).hexdigest()
    stamp = python.parent.parent / "installed"
    pip = ("pip", "install", "--quiet")
    if not pins or not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        requirements = [*group(*groups), *([f"imagevol[all] @ {wheel().as_uri()}"] if tested else [])]
        run(session, python, *pip, *pinned, *requirements, installs=True)
        stamp.write_text(wanted)
    if tested and not has_wheel(python, wheel()):
        run(session, python, *pip, "--no-deps", "--force-reinstall", str(wheel()), installs=True)


reports: list[Path] = []


def pytest(session: nox.Session, python: Path, *arguments: str, part: str = "") -> None:
    """Run pytest on the installed wheel; what follows `--` on nox's command line is handed on."""
    report = NOX / "reports" / f"{session.name}{part}.xml"
    report.unlink(missing_ok=True)
    reports.append(report)
    command = ["pytest", f"--junit-xml={report}", *arguments, *session.posargs]
    run(session, python, *command, env={"IMAGEVOL_TESTS_THE_WHEEL": "1"})


@atexit.register
def print_total() -> None:
    """Close a run that ran tests by naming those that failed, and with one line that adds all up."""
    if "IMAGEVOL_PART" in os.environ:
        return  # of a run that adds up more than this
    total = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for report in filter(Path.exists, reports):
        tree = ElementTree.parse(report)
        for suite in tree.iter("testsuite"):
            for count in total:
                total[count] += int(suite.get(count, 0))
        for case in tree.iter("testcase"):
            for failure in (*case.iter("failure"), *case.iter("error")):
                message = failure.get("message", "").partition("\n")[0]
                print(f"failed: {report.stem}: {case.get('classname')} {case.get('name')}: {message}")
    if any(total.values()):
        failed = total["failures"] + total["errors"]
        passed = total["tests"] - failed - total["skipped"]
        print(f"{passed} passed, {failed} failed, {total['skipped']} skipped", flush=True)


def prerequisites(session: nox.Session, python: Path, *wishes: str, required: bool = False) -> None:
    """Install the Debian packages of the services and qemu-img, or say which to install.

    The demo cannot do without; a test that cannot is skipped and says so.
    """
    command = ["tests.cloud", "prerequisites", "--install", *wishes]
    run(session, python, *command, installs=True, success_codes=[0] if required else [0, 1])


@nox.session(venv_backend="none")
def check(session: nox.Session) -> None:
    """Run what `make test` promises: lint, typing, tests and upstream, and beside them smoke and docs."""
    promised = [*ON_ALL_CORES, *BESIDE]
    reports.extend(NOX / "reports" / f"{name}.xml" for name in (*promised, f"tests-{OLDEST}-core"))
    for report in reports:
        report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "nox", "--sessions"]
    posargs = ["--", *session.posargs] if session.posargs else []
    session.log("Installing what the sessions need: minutes the first time, seconds after that.")
    # Before they run side by side, since some share an environment.
    session.run_install(*command, *promised, "--install-only", external=True, silent=True)
    if session.run(sys.executable, "--version", silent=True) is None:
        return  # with --install-only
    log = NOX / "reports" / "beside.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"IMAGEVOL_PART": "1"}
    with (
        log.open("wb") as output,
        started([*command, *BESIDE, *posargs], env=environment, stdout=output, stderr=output) as beside,
        started([*command, *ON_ALL_CORES, *posargs], env=environment) as first,
    ):
        statuses = [first.wait(), beside.wait()]
    print(f"\nMeanwhile, beside them:\n{log.read_text()}", flush=True)
    if any(statuses):
        session.error("A session failed; see above.")


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that is ended with the block."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style and format, and that the changelog can be built."""
    python = shared(session, "lint")
    install(session, python, "lint", tested=False)
    run(session, python, "ruff", "check", ".")
    run(session, python, "ruff", "format", "--check", ".")
    version = PROJECT["project"]["version"]
    run(session, python, "towncrier", "build", "--draft", "--version", version, silent=True)


@nox.session(venv_backend="none")
def typing(session: nox.Session) -> None:
    """Check the types of the tree, and what a user's type checker sees of the wheel."""
    python = shared(session, "typing")
    install(session, python, "typing")
    run(session, python, "mypy")
    # Without the paths of the tree: these types can only come out of the wheel.
    run(
        session,
        python,
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir=.nox/mypy-wheel",
        "tests/typing",
    )


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the pages, and look at them; a warning is an error, and the browser is left out if none is installed.

    As a part of `check` they are read, and each reference is resolved, which finds most faults in half the time.
    """
    python = shared(session, "typing")
    install(session, python, "typing")
    build = ("sphinx", "-a", "-W", "-n", "-q", "--keep-going")
    if "IMAGEVOL_PART" in os.environ:
        run(session, python, *build, "-b", "dummy", "docs", str(NOX / "pages-read"))
        return
    for page in (NOX / "html").rglob("*.html"):  # Sphinx leaves the pages whose source is gone
        page.unlink()
    run(session, python, *build, "docs", str(NOX / "html"))
    run(session, python, "tests.pages", str(NOX / "html"), *session.posargs)
    report = NOX / "reports" / f"{session.name}.xml"
    reports.append(report)
    run(session, python, "pytest", f"--junit-xml={report}", "-q", "tests/pages", env={"IMAGEVOL_TESTS_THE_WHEEL": "1"})


@nox.session(python=list(PYTHONS))
def tests(session: nox.Session) -> None:
    """Run the library's own tests, and hold that those of the core take each of its branches."""
    python = own(session)
    install(session, python, "tests")
    prerequisites(session, python, "--faults")
    if session.posargs:  # which may choose some
        pytest(session, python, *LIBRARY_TESTS, *PARALLEL)
    elif session.python == OLDEST:
        # Not of all tests at once, because what is traced is slow.
        coverage = ("--cov", "--cov-report=term-missing:skip-covered")
        pytest(session, python, CORE_TESTS, *PARALLEL, *coverage, part="-core")
        pytest(session, python, *OTHER_TESTS, *PARALLEL)
    else:  # a law is tried on fewer examples there
        pytest(session, python, *LIBRARY_TESTS, *PARALLEL, "--hypothesis-profile=few")


@nox.session(name="property", venv_backend="none")
def property_(session: nox.Session) -> None:
    """Try the laws of the core, and the services beside it, on many more examples."""
    thorough = "--hypothesis-profile=property"
    python = shared(session, OLDEST_TESTS)
    install(session, python, "tests")
    pytest(session, python, CORE_TESTS, *PARALLEL, "-m", "hypothesis", thorough)
    pytest(session, with_services(session), "tests/upstream", *BY_MODULE, "-m", "not long", thorough, part="-upstream")


@nox.session(venv_backend="none")
def sweep(session: nox.Session) -> None:
    """Give every decision and every command thousands of hostile inputs: an answer or an error of ours, in bounds."""
    python = shared(session, OLDEST_TESTS)
    install(session, python, "tests")
    hostile = [f"tests/{name}.py" for name in ("core/test_hostile_facts", "adapters/test_hostile_commands")]
    pytest(session, python, *hostile, *PARALLEL, "--hypothesis-profile=sweep")


@nox.session(python=OLDEST)
def mutation(session: nox.Session) -> None:
    """Change the core in small ways: its tests must notice.  What follows `--` names modules."""
    python = own(session)
    install(session, python, "mutation")
    run(session, python, "tests.mutation", str(NOX / "mutants"), *session.posargs, env={"PYTHONUNBUFFERED": "1"})


@nox.session(venv_backend="none")
def upstream(session: nox.Session) -> None:
    """Give the same facts to us and to the code of the services."""
    pytest(session, with_services(session), "tests/upstream", *BY_MODULE, "-m", "not long")


@nox.session(venv_backend="none")
def long(session: nox.Session) -> None:
    """Run the tests that `make test` leaves out because they take long (`@pytest.mark.long`)."""
    pytest(session, with_services(session), "tests/upstream", *BY_MODULE, "-m", "long")


def with_services(session: nox.Session) -> Path:
    """Give the Python of the environment that has the code of the services, also of other releases."""
    python = shared(session, "cloud", version=SERVICES_PYTHON)
    install(session, python, "cloud")
    for name, of_group in {"cinder-13": "solidfire", "cinder-28": "cinder-28"}.items():
        if not (unpacked := ROOT / ".nox" / name).exists():
            # Beside the environment, not in it: only some modules are read out of it, with what is installed.
            pip = ("pip", "install", "--quiet", "--no-deps", "--no-compile", "--target")
            run(session, python, *pip, str(unpacked), *group(of_group), installs=True)
    return python


@nox.session(venv_backend="none")
def patches(session: nox.Session) -> None:
    """Run `lint`, `tests` and `upstream` on each other release of the oldest Python that is found."""
    found = {identity(python): python for python in candidates(OLDEST) if runs(python, OLDEST)}
    others = {name.split()[0]: python for name, python in found.items() if name != identity(PYTHONS[OLDEST])}
    if not others:
        session.skip(f"No other Python {OLDEST} is found here.")
    for release, python in others.items():
        environment = {"IMAGEVOL_PYTHON": python, "IMAGEVOL_NOX": f".nox/{release}"}
        command = [sys.executable, "-m", "nox", "--sessions", "lint", f"tests-{OLDEST}", "upstream"]
        session.run(*command, *(["--", *session.posargs] if session.posargs else []), external=True, env=environment)


@nox.session(venv_backend="none")
def smoke(session: nox.Session) -> None:
    """Run the main job of each part on real Keystone, Cinder and Glance."""
    on_real_services(session, "-m", "smoke")


@nox.session(venv_backend="none")
def cloud(session: nox.Session) -> None:
    """Run all tests on real Keystone, Cinder and Glance."""
    on_real_services(session)


def on_real_services(session: nox.Session, *which: str) -> None:
    """Run tests on services that they start and stop."""
    python = shared(session, "cloud", version=SERVICES_PYTHON)
    install(session, python, "cloud")
    prerequisites(session, python, "--broker")
    pytest(session, python, "tests/cloud", *which)


@nox.session(venv_backend="none")
def rbd(session: nox.Session) -> None:
    """Run the tests on a real Ceph, in user space; as root its Debian packages are installed."""
    python = shared(session, "rbd", version=SERVICES_PYTHON)
    install(session, python, "cloud")
    run(session, python, "tests.rbd.prerequisites", installs=True, success_codes=[0, 1])
    pytest(session, python, "tests/rbd")


@nox.session(venv_backend="none")
def faults(session: nox.Session) -> None:
    """Bring about bad days and count what comes of them, for hours; what follows `--` names kinds."""
    python = shared(session, "cloud", version=SERVICES_PYTHON)
    install(session, python, "cloud")
    prerequisites(session, python, "--broker", "--faults")
    run(session, python, "tests.faults", *session.posargs)


@nox.session(venv_backend="none")
def load(session: nox.Session) -> None:
    """Make 200 transfers by 16 workers while calls go wrong, beside a boot storm of 100 volumes."""
    python = shared(session, "cloud", version=SERVICES_PYTHON)
    install(session, python, "cloud")
    prerequisites(session, python)
    run(session, python, "tests.faults.load", *session.posargs)


@nox.session(venv_backend="none")
def coordination(session: nox.Session) -> None:
    """Run the tests of locks and shards on real lock services, unpacked from Debian's packages and not installed."""
    python = shared(session, "coordination")
    install(session, python, "coordination")
    run(session, python, "tests.coordination.prerequisites", installs=True, success_codes=[0, 1])
    pytest(session, python, "tests/conformance", *ON_LOCK_SERVICES)


@nox.session(venv_backend="none")
def fleet(session: nox.Session) -> None:
    """Kill eight workers at random, on a real Redis and a real etcd, which stands still for a minute.

    `-- --seed N` repeats a run.
    """
    python = shared(session, "coordination")
    install(session, python, "coordination")
    run(session, python, "tests.coordination.prerequisites", installs=True, success_codes=[0, 1])
    sizes = ("--workers=8", "--shards=1000", "--locations=10000000", "--kill-seconds=5", "--stopped-seconds=60")
    pytest(session, python, "tests/fleet", "-s", *sizes)


@nox.session(venv_backend="none")
def san(session: nox.Session) -> None:
    """Run the tests on real iSCSI and NVMe-TCP, in a small machine with a kernel of its own, as root."""
    python = shared(session, OLDEST_TESTS)
    install(session, python, "tests")
    run(session, python, "tests.san.prerequisites", installs=True)
    reported = NOX / "reports" / "san"
    shutil.rmtree(reported, ignore_errors=True)
    try:
        run(session, python, "tests.san", f"--machine={NOX / 'machine'}", f"--reports={reported}", *session.posargs)
    finally:
        reports.extend(reported.glob("*.xml"))


@nox.session(venv_backend="none")
def release(session: nox.Session) -> None:
    """Build the release, check it and install it with each extra; the tree changes only with `-- --write`."""
    python = shared(session, "release-tools")
    install(session, python, "release", tested=False)
    run(session, python, "tests.release", str(NOX / "release"), *session.posargs)


@nox.session(venv_backend="none")
def advisories(session: nox.Session) -> None:
    """Ask whether a pinned release has a known vulnerability; without a network, the list in the tree is asked."""
    python = shared(session, "advisories")
    install(session, python, "advisories", pins=None, tested=False)
    run(session, python, "tests.release.advisories", *session.posargs)


@nox.session(venv_backend="none")
def fuzz(session: nox.Session) -> None:
    """Fuzz every parser for ten minutes each; `-- TARGET...` and `--minutes N` choose."""
    python = shared(session, "fuzz", version=SERVICES_PYTHON)
    install(session, python, "tests", "fuzz")
    run(session, python, "tests.faults.fuzzing", *session.posargs)


@nox.session(venv_backend="none")
def demo(session: nox.Session) -> None:
    """Do the main job on real services, and show it."""
    python = shared(session, "cloud", version=SERVICES_PYTHON)
    install(session, python, "cloud")
    prerequisites(session, python, required=True)
    run(session, python, "tests.cloud.demo", *session.posargs)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Measure, side by side with others: all, or what follows `--`."""
    python = shared(session, "bench", version=SERVICES_PYTHON)
    install(session, python, "bench")
    prerequisites(session, python, "--broker")
    run(session, python, "tests.rbd.prerequisites", "--installed", installs=True, silent=True, success_codes=[0, 1])
    run(session, python, "tests.coordination.prerequisites", installs=True, success_codes=[0, 1])
    run(session, python, "benchmarks", *session.posargs)


@nox.session(name="bench-decisions", venv_backend="none")
def bench_decisions(session: nox.Session) -> None:
    """Measure the decisions alone; with `-- COMMIT` beside those of an earlier commit."""
    python = shared(session, "bench", version=SERVICES_PYTHON)
    install(session, python, "bench")
    if session.posargs:
        run(session, python, "benchmarks.before", *session.posargs)
    else:
        run(session, python, "benchmarks", "decisions")


@nox.session(venv_backend="none")
def bare(session: nox.Session) -> None:
    """Do as a newcomer does, on a bare Debian 12: `make demo` and `make test`, or the targets that follow `--`."""
    patience: dict[str, Any] = {"interrupt_timeout": 60, "terminate_timeout": 60}  # it removes what it made
    session.run(sys.executable, "-m", "tests.bare", *session.posargs, external=True, **patience)


@nox.session(python=list(PYTHONS)[-1:])
def newest(session: nox.Session) -> None:
    """Run the library's tests on the newest release of everything."""
    python = own(session)
    install(session, python, "tests", pins=None)
    pytest(session, python, *LIBRARY_TESTS, *PARALLEL)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the library's tests on the lowest releases that pyproject.toml admits."""
    pins = NOX / "lowest.txt"
    session.install("--quiet", "--constraint", str(CONSTRAINTS), *group("resolve"))
    resolve(session.run_install, "--all-extras", "--resolution=lowest-direct", f"--output-file={pins}")
    python = own(session)
    install(session, python, "tests", pins=pins)
    pytest(session, python, *LIBRARY_TESTS, *PARALLEL)


@nox.session
def constraints(session: nox.Session) -> None:
    """Write constraints.txt anew, with the newest releases that go together."""
    session.install("--quiet", *group("resolve"))
    pins = NOX / "constraints.txt"
    heading = "# What the tests and the services install; written by `nox -s constraints`.\n"
    if resolve(session.run, "--universal", "--all-extras", "--group=dev", f"--output-file={pins}"):
        CONSTRAINTS.write_text(heading + pins.read_text())


def resolve(execute: Callable[..., Any], *arguments: str) -> bool:
    """Let uv work out which releases go together, and say whether it did; what it writes is the same on every host."""
    plain = ["--quiet", "--upgrade", "--no-header", "--no-annotate", "--no-emit-index-url"]
    return bool(execute("uv", "pip", "compile", f"--python-version={OLDEST}", *plain, *arguments, "pyproject.toml"))
