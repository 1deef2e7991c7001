"""The machine and the software on it: what they are, and what happens on them."""
