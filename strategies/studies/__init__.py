"""Methods that a study needs and nobody else, under the names `studies:FILE`.

Each changes one thing of a method that is there, so that the study can compare the two; none is meant to be used for itself.
"""
