"""The use cases: what each command does, from its options to its last line.

Level 3: may import everything below; never cli.
"""
