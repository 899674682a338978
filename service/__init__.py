"""Turnstile's service: what runs in production, and nothing else."""
