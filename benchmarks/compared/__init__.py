"""The methods that ``python -m benchmarks.peers`` compares with the detector."""
