"""Observations and manifests on disk: written whole or not at all, read back as one table."""
