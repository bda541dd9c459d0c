"""One module per stage; execution/stage.py says what each has."""
