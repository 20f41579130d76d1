"""The same facts to the core and to the code of the installed Cinder and glance_store, and the answers compared."""
