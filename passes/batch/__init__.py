"""A batch that the source fixes at 1 is freed, where it provably only passes through."""
