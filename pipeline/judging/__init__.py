"""Who is funnier: the pairs to compare, the answers to an outcome, outcomes to rows and numbers."""
