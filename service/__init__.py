"""Turnstile's service: what runs in production, and nothing else."""

__version__ = "0.1.0"
"""The release: here, because an image has these files and no package."""
