"""`scripts/crash-test`: what is lost if the daemon and its broker are killed."""
