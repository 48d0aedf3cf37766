"""The maintenance plan: what to do, until when, in which stop, by which crew, and why.

It is a proposal: nothing is ordered or commanded. A gateway without the section `maintenance` does
not import this package.
"""
