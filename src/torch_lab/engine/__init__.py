"""A configuration made to run: the Trainer, its loops, signals and the exact training state.

Level 2: may import callbacks, checkpoints, store and everything below; never tasks or cli.
"""
