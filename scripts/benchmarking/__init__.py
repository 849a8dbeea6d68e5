"""What scripts/bench, scripts/bench-compare and scripts/report are made of. bench/README.md tells how they are used."""
