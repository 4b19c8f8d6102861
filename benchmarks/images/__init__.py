"""From image files to pixels: listing, reading, decoding, cache, crops. Knows no task and no method."""
