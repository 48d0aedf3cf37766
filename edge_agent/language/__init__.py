"""Answers to questions: facts about alarms, and passages of the plant's manuals, quoted.

No module here imports a command, a sink or a source: whatever a question or a manual says, it can
only be read and quoted (tests/test_floors.py holds it).
"""

from edge_agent.language.answers import Search, compose, named_in
from edge_agent.language.facts import Fact, Subject, facts_of, load_catalogue
from edge_agent.language.words import language_of

__all__ = [
    "Fact",
    "Search",
    "Subject",
    "compose",
    "facts_of",
    "language_of",
    "load_catalogue",
    "named_in",
]
