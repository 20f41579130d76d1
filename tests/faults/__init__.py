"""Bad days, brought about: processes killed, services and storage that fail, and what came of it.

Each kind of fault is a module or a package here, and runs as `python -m tests.faults.KIND`.  It prints its seed, takes
`--seed`, and records what happened with `recorded.py`.  The page "Bad days" is made of these records.
"""
