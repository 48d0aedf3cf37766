"""`scripts/other-machines`: simulated machines, and the learner's results on them."""
