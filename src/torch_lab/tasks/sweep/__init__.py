"""`lab sweep`: a search over hyperparameters whose trials are ordinary runs.

    design.py   what SWEEP says                     storage.py     where Optuna keeps the trials
    space.py    all combinations of a grid          ledger.py      the trials there
    asking.py   a trial's words for `train`         owners.py      which process has which trial
    search.py   asks, trains and tells, on a pool   membership.py  the side of a trial's run
    report.py   trials as people see them           pruning.py     … what it asks after validations
    searching.py  a search, from first to last      proposing.py   the trial that `sweep` asks
    board.py    what a terminal shows meanwhile

Optuna, which is an extra, is imported inside functions; in training processes only where there is
a pruner.
"""
