"""`scripts/crash-test`: counts losses when the daemon and its broker are killed."""
