"""Copies of a store in another: how each kind is read whole, and written from nothing."""
