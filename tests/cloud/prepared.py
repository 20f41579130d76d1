"""The databases of a cloud in which nothing has been done yet: made once for an environment, and copied for each cloud.

Making the schemas and filling Keystone takes longer than the rest of a start. What is kept lies in the environment of
the services, under a name that tells all that it depends on: with another release of anything it is made again.
"""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.cloud.processes import SYSTEM_PATH

# Names that the databases have in them: of the projects and of the users, each to its id.
Ids = Mapping[str, Mapping[str, str]]

PLACE = Path(sysconfig.get_path("data")) / "cloud-databases"
INSTALLED = Path(sysconfig.get_path("purelib"))
# The code that makes them.
SOURCES = ("bringup", "configuration", "identity", "keystone_setup", "prepared", "rest", "services", "settings")


def copied(target: Path, make: Callable[[], Ids]) -> Ids:
    """Have the databases in this empty directory, and give the ids; `make` makes them there, if none are kept."""
    with _locked():
        kept = PLACE / key()
        if (kept / "ids.json").exists():
            shutil.copytree(kept / "mariadb", target, dirs_exist_ok=True)
        else:
            for other in (entry for entry in PLACE.iterdir() if entry.is_dir()):
                # First, so that what is left if this is killed counts as none.
                (other / "ids.json").unlink(missing_ok=True)
                shutil.rmtree(other)
            ids = make()
            new = PLACE / "new"
            shutil.copytree(target, new / "mariadb")
            (new / "ids.json").write_text(json.dumps(ids))
            new.rename(kept)
        found: Ids = json.loads((kept / "ids.json").read_text())
        return found


def key() -> str:
    """What the databases depend on: the releases of all that is installed, MariaDB's, and the code that makes them."""
    releases = sorted(entry.name for entry in INSTALLED.glob("*.dist-info"))
    version = ("mariadbd", "--no-defaults", "--version")
    mariadb = subprocess.run(version, env={"PATH": SYSTEM_PATH}, check=True, capture_output=True, text=True).stdout
    code = [(Path(__file__).parent / f"{name}.py").read_text() for name in SOURCES]
    return hashlib.sha256(json.dumps([releases, mariadb, code]).encode()).hexdigest()[:16]


@contextmanager
def _locked() -> Iterator[None]:
    """Hold the place; another cloud that starts waits until they are made."""
    PLACE.mkdir(mode=0o700, exist_ok=True)
    with (PLACE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
