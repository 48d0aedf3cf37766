"""`scripts/bench`: figures of the daemon on this machine."""
