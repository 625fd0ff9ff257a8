"""Foreign and old forms of operators become those that the rules speak of."""
