"""`bearing-fault`: which part of a rolling bearing is damaged."""
