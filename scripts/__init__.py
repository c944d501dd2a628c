"""Programs of make targets that are part of neither package."""
