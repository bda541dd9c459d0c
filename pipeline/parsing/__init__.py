"""What an answer's text says: its list, its JSON, without thoughts and explanations.

said         what it says: without thoughts and stop tokens; JSON in it
thoughts     what is taken away
lists        the items of a list in it
listed       those items, without the quotes around them
dressed      lists that are more than plain lines
numbered     where each item begins
items        what of an item is the joke
json_lists   items in JSON
"""
