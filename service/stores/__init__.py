"""Stores: read a page, write a page; one file an engine."""
