"""Every decision about images and volumes, as pure functions over frozen facts.

Standard library only, and of it no I/O, no clock, no environment, no logging, no randomness.  One module, one decision;
`imagevol_adapters` collects the facts and carries the decisions out.
"""

from imagevol_core import cloning, errors, facts, locations, metadata, sizing, tables, verdicts
from imagevol_core.cloning import *
from imagevol_core.errors import *
from imagevol_core.facts import *
from imagevol_core.locations import *
from imagevol_core.metadata import *
from imagevol_core.sizing import *
from imagevol_core.tables import *
from imagevol_core.verdicts import *

__all__: list[str] = []
__all__ += cloning.__all__
__all__ += errors.__all__
__all__ += facts.__all__
__all__ += locations.__all__
__all__ += metadata.__all__
__all__ += sizing.__all__
__all__ += tables.__all__
__all__ += verdicts.__all__
