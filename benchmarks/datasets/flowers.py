"""Flowers: photographs of 102 kinds of flowers, under ZSCL's class names, since the data set has no names."""

from functools import partial
from pathlib import Path

from torchvision.datasets import Flowers102

from benchmarks.datasets.about import Info
from benchmarks.datasets.parts import Part


INFO = Info(
    name="Flowers",
    folder="flowers-102",
    origin="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    archive="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/102flowers.tgz",
    download=True,
    by_hand=(
        "extract 102flowers.tgz so that DATA_ROOT/flowers-102/jpg exists, with imagelabels.mat and setid.mat beside jpg"
    ),
    split="the published train images (10 of each class) for training, test for testing (val unused)",
    licence="not stated",
    citation="Nilsback, Zisserman: Automated Flower Classification over a Large Number of Classes, ICVGIP 2008",
    expected={"train": 1020, "test": 6149, "classes": 102},
    templates=("a photo of a {}, a type of flower.",),
    class_names=(
        "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold",
        "tiger lily", "moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon", "colt's foot",
        "king protea", "spear thistle", "yellow iris", "globe-flower", "purple coneflower", "peruvian lily",
        "balloon flower", "giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger",
        "grape hyacinth", "corn poppy", "prince of wales feathers", "stemless gentian", "artichoke", "sweet william",
        "carnation", "garden phlox", "love in the mist", "mexican aster", "alpine sea holly", "ruby-lipped cattleya",
        "cape flower", "great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily",
        "poinsettia", "bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion",
        "petunia", "wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium",
        "orange dahlia", "pink-yellow dahlia", "cautleya spicata", "japanese anemone", "black-eyed susan",
        "silverbush", "californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower",
        "tree poppy", "gazania", "azalea", "water lily", "rose", "thorn apple", "morning glory", "passion flower",
        "lotus", "toad lily", "anthurium", "frangipani", "clematis", "hibiscus", "columbine", "desert-rose",
        "tree mallow", "magnolia", "cyclamen", "watercress", "canna lily", "hippeastrum", "bee balm", "ball moss",
        "foxglove", "bougainvillea", "camellia", "mallow", "mexican petunia", "bromelia", "blanket flower",
        "trumpet creeper", "blackberry lily",
    ),
)  # fmt: skip


def read(root: Path) -> tuple[Part, ...]:
    """Returns two parts: the published `train` images (10 of each class), for training, and the published `test`
    images.

    Each `Part` has images with their labels, class names and files. The `val` images are not used.

    Args:
        root: the data root, which contains the folder `flowers-102`.
    """
    found = [Flowers102(root, split=half) for half in ("train", "test")]
    return tuple(Part.of_files(each, each._labels, each._image_files) for each in found)


download = partial(Flowers102, download=True)
