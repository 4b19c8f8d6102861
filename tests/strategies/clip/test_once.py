"""An encoder that remembers: each image computed once, told apart by its pixels."""

import torch

from strategies.clip.once import Once


def test_each_image_is_computed_once_and_gets_its_own_features() -> None:
    given: list[int] = []

    def encode(images: torch.Tensor) -> torch.Tensor:
        given.append(len(images))
        return images.double().flatten(1) @ weights

    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=generator)
    images[1] = images[0]
    images[1, 2, 3, 3] ^= 1  # one bit
    weights = torch.randn(48, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    once = Once(encode)
    for places, new in (([0, 2, 0], 2), ([0, 1, 2], 1), ([2, 1, 0, 1], 0), ([4, 3], 2), ([0, 4], 0)):
        before = sum(given)
        found = once(images[places])
        assert sum(given) - before == new
        assert torch.allclose(found, images[places].double().flatten(1) @ weights, rtol=1e-12)
        assert not found.requires_grad
    backwards = images.flip(0)[::2]  # not contiguous
    assert torch.allclose(once(backwards), backwards.double().flatten(1) @ weights, rtol=1e-12)
    assert given == [2, 1, 2]
