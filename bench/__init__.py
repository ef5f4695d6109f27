"""The benchmark: `bench/run` measures, and writes a report for docs/performance.md."""
