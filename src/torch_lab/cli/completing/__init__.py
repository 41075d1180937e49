"""Completion of command lines: the line read, the verbs asked what they take, the shells told.

Imports nothing that takes long: a shell waits for it at each TAB.
"""
