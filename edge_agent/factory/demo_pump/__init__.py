"""`demo-pump`: what healthy is for any pump of the demo's plant."""
