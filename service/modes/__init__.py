"""Modes: one technique a file. What differs between two of these files is what differs between the techniques."""
