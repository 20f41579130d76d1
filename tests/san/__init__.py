"""Tests in a machine of their own, whose kernel has iSCSI and NVMe-TCP: `python -m tests.san`.

`machine` makes the machine, once; `running` boots it and runs the tests of `guest` in it.
"""
