"""Versions of bundles on disk."""
