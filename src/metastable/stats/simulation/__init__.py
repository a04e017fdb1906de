"""Error rates, power and sensitivity by simulation."""
