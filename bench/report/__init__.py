"""From the summary to what a person reads: the notebook's claims, the table."""
