"""What is on disk: runs, their steps, the files of a step, and what a manifest says."""
