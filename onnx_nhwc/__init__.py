"""Converts neural networks between channels first and channels last, and proves it."""
