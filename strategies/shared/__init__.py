"""What several methods are made of: low-rank updates, distillation, mixtures, task decision. Knows no single method."""
