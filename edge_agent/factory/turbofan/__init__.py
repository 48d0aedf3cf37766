"""`turbofan-life`: the remaining life of turbofan engines."""
