"""The published data sets: what is known about each, and opening them from below the data root.

Nothing is downloaded and nothing is written. Torch and torchvision are imported when a data set is opened, not before.
"""

from benchmarks.datasets.about import NAMES as NAMES
from benchmarks.datasets.about import Info as Info
from benchmarks.datasets.about import info as info
from benchmarks.datasets.checks import open_checked as open_checked
from benchmarks.datasets.checks import problems as problems
from benchmarks.datasets.opening import Opened as Opened
from benchmarks.datasets.opening import check_root as check_root
from benchmarks.datasets.opening import open_dataset as open_dataset
