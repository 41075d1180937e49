"""What a word on a command line could go on as: scripts, runs, hyperparameters, metrics, files.

Reads file names, run records and the text of scripts; imports neither torch nor code of the user's.
"""
