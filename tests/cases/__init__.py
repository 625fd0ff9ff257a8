"""The cases of the law test: a module for each family of rules, a list of cases in each."""
