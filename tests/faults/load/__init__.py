"""Load: many transfers at once while calls go wrong and workers are killed, and a boot storm beside them."""
