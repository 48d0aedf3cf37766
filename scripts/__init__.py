"""Tools of the checkout: benchmarks, comparisons, long tests; each has a launcher next to it."""
