"""Speed, side by side with a plain loop and bare Lightning: `python -m benchmarks`."""
