"""What runs in the machine, as root: tests, and the storage that they need."""
