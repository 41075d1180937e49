"""Where a run's files lie on the server: PROJECT/NAME.TASK/…, as the SDK has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch_lab.mirror.storage import address


@dataclass(frozen=True)
class Places:
    """Addresses below the files server, or below `output_uri` for what that is meant for."""

    files: str
    output: str
    folder: str

    def model(self, name: str) -> str:
        """The address of a checkpoint's file."""
        return address(self.output, self.folder, "models", name)

    def artifact(self, key: str, digest: str, name: str) -> str:
        """The address of an artifact; other contents have another."""
        return address(self.output, self.folder, "artifacts", key, digest[:16], name)

    def shown(self, file: str) -> str:
        """The address of a file of media/, which the web page shows."""
        plain = address(self.files, self.folder, file)
        if plain.endswith(f"/{file}"):
            return plain
        # What is left of two names without their odd characters may be the same.
        digest = hashlib.sha256(file.encode()).hexdigest()[:8]
        folder, _, name = file.rpartition("/")
        return address(self.files, self.folder, folder, f"{digest}-{name}")
