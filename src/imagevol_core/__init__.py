"""Every decision about images and volumes, as pure functions over frozen facts.

Standard library only, and of it no I/O, no clock, no environment, no logging, no randomness.  One module, one decision;
`imagevol_adapters` collects the facts and carries the decisions out.
"""

from imagevol_core import (
    attaching,
    auditing,
    caching,
    checksums,
    cloning,
    copying,
    creation,
    custody,
    errors,
    facts,
    locations,
    metadata,
    migration,
    partitions,
    pruning,
    put_rules,
    reclaiming,
    relocation,
    remains,
    removal,
    safety,
    secret_text,
    selection,
    sizing,
    store_trials,
    stores,
    tables,
    template_metadata,
    templates,
    upgrade,
    uploading,
    verdicts,
    warming,
)
from imagevol_core.attaching import *
from imagevol_core.auditing import *
from imagevol_core.caching import *
from imagevol_core.checksums import *
from imagevol_core.cloning import *
from imagevol_core.copying import *
from imagevol_core.creation import *
from imagevol_core.custody import *
from imagevol_core.errors import *
from imagevol_core.facts import *
from imagevol_core.locations import *
from imagevol_core.metadata import *
from imagevol_core.migration import *
from imagevol_core.partitions import *
from imagevol_core.pruning import *
from imagevol_core.put_rules import *
from imagevol_core.reclaiming import *
from imagevol_core.relocation import *
from imagevol_core.remains import *
from imagevol_core.removal import *
from imagevol_core.safety import *
from imagevol_core.secret_text import *
from imagevol_core.selection import *
from imagevol_core.sizing import *
from imagevol_core.store_trials import *
from imagevol_core.stores import *
from imagevol_core.tables import *
from imagevol_core.template_metadata import *
from imagevol_core.templates import *
from imagevol_core.upgrade import *
from imagevol_core.uploading import *
from imagevol_core.verdicts import *
from imagevol_core.warming import *

__all__: list[str] = []
__all__ += attaching.__all__
__all__ += auditing.__all__
__all__ += caching.__all__
__all__ += checksums.__all__
__all__ += cloning.__all__
__all__ += copying.__all__
__all__ += creation.__all__
__all__ += custody.__all__
__all__ += errors.__all__
__all__ += facts.__all__
__all__ += locations.__all__
__all__ += metadata.__all__
__all__ += migration.__all__
__all__ += partitions.__all__
__all__ += pruning.__all__
__all__ += put_rules.__all__
__all__ += reclaiming.__all__
__all__ += relocation.__all__
__all__ += remains.__all__
__all__ += removal.__all__
__all__ += safety.__all__
__all__ += secret_text.__all__
__all__ += selection.__all__
__all__ += sizing.__all__
__all__ += store_trials.__all__
__all__ += stores.__all__
__all__ += tables.__all__
__all__ += template_metadata.__all__
__all__ += templates.__all__
__all__ += upgrade.__all__
__all__ += uploading.__all__
__all__ += verdicts.__all__
__all__ += warming.__all__
