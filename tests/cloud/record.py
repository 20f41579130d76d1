"""What is known of a running cloud: the record that `up` writes and everything else reads.

`cloud.json` names endpoints, ids and processes, and holds no secret. Credentials are in
`clouds.yaml` alone, where every OpenStack client looks for them.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cloud.processes import CloudError, belongs_to

# The file that says that a directory is a cloud's: locked while somebody starts or ends the cloud.
MARKER = ".imagevol-cloud"
RECORD = "cloud.json"


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A cloud that runs."""

    directory: Path
    auth_url: str
    volume_url: str
    image_url: str
    project_ids: Mapping[str, str]
    user_ids: Mapping[str, str]
    #: Backend to the `host@backend#pool` that Cinder gives its volumes.
    backend_hosts: Mapping[str, str]
    pids: Mapping[str, int]

    @classmethod
    def load(cls, directory: Path) -> "Cloud":
        """The cloud that `up` started in this directory."""
        directory = directory.resolve()
        try:
            values = json.loads((directory / RECORD).read_text())
        except FileNotFoundError:
            raise CloudError(f"no cloud runs in {directory}: start one with `python -m tests.cloud up`") from None
        return cls(directory=directory, **values)

    def save(self) -> None:
        values = dataclasses.asdict(self)
        del values["directory"]
        (self.directory / RECORD).write_text(json.dumps(values, indent=2) + "\n")

    @property
    def clouds_yaml(self) -> Path:
        """Credentials of the clouds `admin`, `service`, `demo` and `other`."""
        return self.directory / "clouds.yaml"

    def log(self, service: str) -> Path:
        """The log of `cinder` or `glance`, to debug by, or of `keystone` or `mariadb`."""
        return self.directory / "log" / f"{service}.log"

    def services(self) -> dict[str, bool]:
        """Each service, and whether its process lives."""
        return {name: belongs_to(pid, self.directory) for name, pid in self.pids.items()}

    def usage(self) -> str:
        """What to type to use this cloud."""
        return f"export OS_CLIENT_CONFIG_FILE={self.clouds_yaml} OS_CLOUD=demo"
