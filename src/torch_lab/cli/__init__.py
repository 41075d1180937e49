"""The commands: parse, call one task, turn errors into exit statuses.

May import everything below it, but a task only when it is called: help, errors in the command line
and the listing of runs answer before torch could be loaded.
"""
