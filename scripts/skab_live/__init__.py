"""`scripts/skab-live`: recordings through real servers, compared with a replay."""
