"""The README's promise, kept: a Debian 12 with nothing on it, and the committed tree, as a newcomer has them."""
