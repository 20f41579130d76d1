"""Commands and services that are killed at a system call, or whose system call fails, and what they leave.

`strace` kills a real process right before its N-th `write`, `fsync`, `connect` and so on, or lets that call fail.  Then
the same command runs again, and `imagevol audit --repair`.  Afterwards every image must be whole or absent, and nothing
may be left.  `nox -s faults` runs it on real services, and the tests on services in memory.
"""
