"""From observations to what a person reads: the summary, the notebook's claims, the table."""
