"""`demo-pump`: the healthy baseline of any pump of the demo's plant."""
