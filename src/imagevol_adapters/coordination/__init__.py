"""One at a time across processes and hosts, under the operator's own lock service, by tooz.

The lock service is the one of Cinder's `[coordination] backend_url`: files for one host; etcd, Redis, memcached or
ZooKeeper for many.  The member of it is our own, beside Cinder's `COORDINATOR`: that one cannot be waited for with a
deadline, takes no name that a file cannot have, and does not tell that a lock was lost; and a program that is not
Cinder has none.  Both are in the same service, and so is every other program that names the same URL.

`services` has what is particular to each lock service, `answering` the limit of time for its answers, and `locks` the
port.
"""

from imagevol_adapters.coordination.locks import TakenLock, ToozLocks, from_conf, from_url

__all__ = ["TakenLock", "ToozLocks", "from_conf", "from_url"]
