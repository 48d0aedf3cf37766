"""Answers to questions: facts about alarms, and passages of the plant's manuals, quoted.

No module here imports a command, a sink or a source: whatever a question or a manual says, it can
only be read and quoted (tests/test_floors.py holds it). Modules are imported by name: the children
that read files need few of them, and a daemon that nobody asks needs none.
"""

__all__ = ["answers", "engine", "facts", "manuals", "text_server", "wording", "words"]
