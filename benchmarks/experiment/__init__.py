"""One run: settings to run folder; the loop over tasks, evaluation, checkpoint. Knows no method by name."""
