"""A rig that runs real Keystone, Cinder and Glance on one machine, for tests and for the demo.

By hand: `python -m tests.cloud up`, `status` and `down`. In a test: the fixture `cloud`.
From a program: `tests.cloud.bringup.running`.
"""
