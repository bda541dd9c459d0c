"""Run a stage: find its inputs, compare recipes, resume, write rows and, last, the manifest."""
