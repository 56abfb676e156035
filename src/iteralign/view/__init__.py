"""`iteralign view`: runs in a browser, also while they go on.

Everything is read from run directories. Decisions of a review and labels of answers are all that is ever written.
"""
