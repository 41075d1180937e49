"""Scripts that make data/processed/ from data/raw/."""
