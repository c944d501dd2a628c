"""Programs for experiments, measurements and upkeep that are part of neither package."""
