"""Fuzzing: every parser is given bytes that a fuzzer makes of a corpus; `nox -s fuzz`."""
