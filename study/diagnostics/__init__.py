"""What the data say against an estimate's assumptions: one diagnostic a file.

Each is a function of an Estimate, or of a Sample and a design where it refits, and answers with a
:class:`study.diagnostics.finding.Finding`: sentences, a table and a figure.
"""
