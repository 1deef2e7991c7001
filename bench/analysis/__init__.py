"""Pure functions of data frames: statistics, summaries, verdicts, claims, change points."""
