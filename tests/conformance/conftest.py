"""Failures in the published suite show the values, as those in our own tests do."""

import pytest

pytest.register_assert_rewrite("imagevol_adapters.testing.conformance")
