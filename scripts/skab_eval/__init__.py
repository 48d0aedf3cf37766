"""`scripts/skab`: the Skoltech Anomaly Benchmark by its published protocol."""
