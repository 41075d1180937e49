"""Runs on disk: plain files under the artifacts folder, described in docs/formats.md.

Each file has one writer and a format version. May import errors, settings, hparams and utils;
never torch, Lightning or ClearML, so that readers answer at once.
"""
