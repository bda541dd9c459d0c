"""Who is funnier: which pairs to compare, the answers to an outcome, outcomes to rows and
numbers."""
