"""The bundle: format, archive, signature, sandbox."""
