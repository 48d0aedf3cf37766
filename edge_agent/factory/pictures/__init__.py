"""Classifiers of labelled pictures: features that are not trained, and a small head."""
