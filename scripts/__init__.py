"""The long proofs, and what makes committed data and constants."""
