"""What commands share to read a run, and sentences from outside.

Rows by id, how it was made, whether rows agree, and how to show it.
"""
