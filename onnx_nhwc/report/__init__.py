"""What was done, and what remains, for people and for programs. Imports verdicts and summaries."""
