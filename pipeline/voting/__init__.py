"""People decide between answers: what they are shown, their votes, and what those come to."""
