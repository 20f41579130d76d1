"""The facts that `diagnose` decides on: a host, its services, its settings, and how fast it is.

Nothing here decides.  Only `try_volume` changes anything: it creates a volume of 1 GiB and deletes it again.
"""

from imagevol_adapters.doctoring.host import host_facts, pools_of
from imagevol_adapters.doctoring.measuring import ALGORITHMS, Trial, digest_rates, try_volume
from imagevol_adapters.doctoring.services import access_facts, service_facts
from imagevol_adapters.doctoring.settings import glance_facts, shows_locations

__all__ = [
    "ALGORITHMS",
    "Trial",
    "access_facts",
    "digest_rates",
    "glance_facts",
    "host_facts",
    "pools_of",
    "service_facts",
    "shows_locations",
    "try_volume",
]
