"""`python -m benchmarks`: all of them."""

from benchmarks import decisions

decisions.main()
