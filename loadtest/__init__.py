"""Turnstile's load test: it drives a service over HTTP, checks the history, and holds a mode to its claim both ways.

plan -> serve -> drive -> history -> check + measure -> verdict -> report. It never imports ``service``.
"""
