"""Comparing variants: paired ratios, their intervals, and the noise floor. Pure, but for `runs`."""
