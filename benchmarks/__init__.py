"""Measurements, each side by side with what users have now, in one run."""
