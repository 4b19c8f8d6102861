"""The training loop under Avalanche: template, loader, tasks as experiences. Knows no method."""
