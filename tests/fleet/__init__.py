"""Workers on real lock services, killed at random."""
