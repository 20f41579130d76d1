from oslo_privsep.priv_context import PrivContext

default: PrivContext
