"""A project whose runs are hard to resume exactly: every kind of state there is."""
