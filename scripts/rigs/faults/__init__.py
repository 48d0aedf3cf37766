"""`scripts/faults`: every promise of reliability and security, its test, figure and control.

A promise is a row in `reliability.py` or `security.py`. What holds it are tests of this repository,
a rig (a module here that starts real programs), or both.
"""
