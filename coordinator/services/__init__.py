"""Hub and sidecars as services of the machine: what is installed is decided purely here, and done in ``machine``."""
