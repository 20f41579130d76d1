"""Services that fail: each call of each procedure is refused, cut, delayed or garbled in turn, by a proxy."""
