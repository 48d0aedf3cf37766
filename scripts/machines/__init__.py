"""`scripts/other-machines`: simulated machines, and what the learner makes of them."""
