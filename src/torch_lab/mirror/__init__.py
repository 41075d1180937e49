"""Runs mirrored to a ClearML server, and what only the server has fetched from it.

The only place that imports clearml, and always in a process of its own: a training (L3, through
`launch` and `asking`) never waits for a server. May import L0, L1; knows nothing of torch.
"""
