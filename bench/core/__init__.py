"""What every other folder shares: the case, what is measured, what crosses processes, errors."""
