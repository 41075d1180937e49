"""Checkpoints: saved, verified, loaded without running code, and found by name.

Level 2: may import store and everything below; never engine, tasks or cli.
"""
