"""On a real Ceph: one monitor, one manager and one OSD, all in user space, started and ended by the tests."""
