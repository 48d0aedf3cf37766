"""Tools of the checkout: benchmarks, comparisons, tests of hours; each has a launcher beside it."""
