"""Studies: each a question about the methods, the runs that answer it, and their table and figure; one file each.

`python -m benchmarks.study NAME` does a study's runs, draws its figure and renews its page, `docs/findings/NAME.md`. A file
here that defines `figure` is a study, under the file's name with hyphens. Its docstring begins with the question, in one line
that becomes the page's title; what follows says which runs there are and how they are read, and stands on the page too.

The file defines `tables(runs)` and `figure(runs)`, which read nothing but the finished runs, and `STUDY`, a `base.Study` that
holds these two with the grid of the runs. `values` has what tables and figures share, `page` makes the page. What a study
measures besides, such as a model's spectra, its `base.Data` says: the rows go to both functions as a second argument, and are
kept in `data.json` beside the run folders (`data`).

A study trains nothing: the runs are a sweep's. To add one, add a file and nothing else.
"""
