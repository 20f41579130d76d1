"""A test kit for programs that use this library."""
