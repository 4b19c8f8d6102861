"""The keys of the json files in a run folder; see `benchmarks.runs.schema`."""

from benchmarks.runs.columns import Column


KEYS: dict[str, tuple[Column, ...]] = {
    "stream.json": (
        Column("protocol", "text", "the protocol's name and source", since="0.2"),
        Column(
            "identity", "text", "what a model is told at test time: the task (`known`), nothing (`unknown`), or the classes "
            "seen so far (`seen`). It says which accuracy file the protocol reports", since="0.2",
        ),
        Column("tasks", "list", "in the order of training; each with the keys below", since="0.2"),
        Column("tasks.name", "text", "the task's name, the column in the accuracy files", since="0.2"),
        Column("tasks.dataset", "text", "the data set that it is of", since="0.2"),
        Column("tasks.origin", "text", "where the data set comes from", since="0.2"),
        Column("tasks.split", "text", "how training and test images were told apart", since="0.2"),
        Column("tasks.licence", "text", "of the data set", since="0.2"),
        Column("tasks.citation", "text", "the paper to cite", since="0.2"),
        Column("tasks.expected", "mapping", "the published counts", since="0.2"),
        Column("tasks.train", "integer", "training images here", "images", since="0.2"),
        Column("tasks.test", "integer", "test images here", "images", since="0.2"),
        Column("tasks.classes", "integer", "classes here", "classes", since="0.2"),
        Column("tasks.templates", "list", "the prompts, of which training uses the first", since="0.2"),
        Column("tasks.class_names", "list", "in the order of the labels", since="0.2"),
    ),
    "metrics.json": (
        Column("transfer", "number", "mean over the tasks of their accuracy before they were learned", "percent"),
        Column("avg", "number", "mean over the tasks of their accuracy in all states", "percent"),
        Column("last", "number", "mean over the tasks of their accuracy after the last task", "percent"),
        Column("forgetting", "number", "mean loss since a task was learned, over all but the last", "points"),
        Column("zero_shot", "number", "mean over the tasks of their accuracy before any training", "percent"),
        Column("per_task", "mapping", "the same keys, each a list with a number for each task in the order of training"),
        Column("agnostic", "mapping", "all of the above from `accuracy_agnostic.csv`"),
        Column("seen", "mapping", "class-incremental, from `accuracy_seen.csv`", since="0.2"),
        Column(
            "seen.steps", "list of numbers", "accuracy after each task over all test images of the tasks learned so far",
            "percent", since="0.2",
        ),
        Column("seen.avg", "number", "their mean", "percent", since="0.2"),
        Column("seen.last", "number", "the final one", "percent", since="0.2"),
    ),
    "cost.json": (
        Column("trained_parameters", "list of integers", "parameters trained in each task, or values fitted", "parameters"),
        Column("carried_bytes", "list of integers", "storage between tasks besides the model itself, after each", "bytes"),
        Column("reference_images", "integer", "auxiliary images read besides the tasks' own", "images"),
        Column("reference_texts", "integer", "auxiliary texts read besides the tasks' own", "texts", since="0.2"),
        Column("peak_memory_bytes", "integer", "most memory of the process during the run, or its parts", "bytes"),
        Column("peak_gpu_memory_bytes", "integer", "most memory allocated on the GPU; `null` without one", "bytes"),
        Column("seconds", "mapping", "lists of the seconds that each task took"),
        Column("seconds.training", "list of numbers", "for each task, without decompositions", "seconds"),
        Column("seconds.decomposition", "list of numbers", "for each task", "seconds"),
        Column("seconds.evaluation", "list of numbers", "for each state", "seconds"),
        Column("seconds.spectrum", "list of numbers", "measurements, for each state", "seconds"),
        Column(
            "seconds.saving", "list of numbers",
            "checkpoint and tables, for each state; 0 where a run was stopped right after", "seconds", since="0.3",
        ),
        Column("total_seconds", "mapping", "the sum of each of these", "seconds"),
    ),
    "run.json": (
        Column("status", "text", "`running`, `finished`, `failed` or `interrupted`; a killed run stays `running`"),
        Column("started", "text", "date and time of the last start, UTC"),
        Column("seconds", "number", "time taken by the last start of the command", "seconds"),
        Column("schema_version", "text", "of this schema; older folders have that of the project's version", since="1.0"),
        Column("command", "text", "the exact command or call that asked for the run", since="1.0"),
        Column("method", "mapping", "the method's name, paper, colour, marker and published rows", since="1.0"),
        Column("strategy_sha256", "text", "digest of the strategy's own file; empty where it is in none", since="1.0"),
        Column(
            "figures_version", "mapping", "raised by hand when figures change: of the `method`, the `shared` parts and the "
            "training `template`", since="1.0",
        ),
        Column("tables", "mapping", "each measured table: its file, keys, and columns as described here", since="1.0"),
        Column("weights_sha256", "text", "digest of the pretrained weights"),
        Column(
            "start", "mapping", "the model from which the run started; only where it was not the pretrained one: `from`, and "
            "of another run its settings, `tasks`, digests and own `start`", since="1.1",
        ),
        Column("start_sha256", "text", "digest of that model's weights; only where there was one", since="1.1"),
        Column(
            "extends", "mapping", "the finished run that this one goes on with; only where it does (`--extend`): `from`, the "
            "number of its `tasks`, its `command`, `versions`, `git` and `hardware`, and all its `parts`", since="1.1",
        ),
        Column(
            "probes", "mapping", "of each probe in `probes.csv`, by its name, the `protocol` and the `sha256` of images and "
            "texts; only where there are any", since="1.1",
        ),
        Column("probes_sha256", "text", "digest of all probes; only where there are any", since="1.1"),
        Column(
            "routed", "boolean", "whether the method answers with more than the weights in `model.safetensors`: with other "
            "weights for other images, or scores of its own; only where it does", since="1.1",
        ),
        Column(
            "weights_file_sha256", "text", "of the file whose weights the run began with; only where it was one that was named",
            since="1.1",
        ),
        Column(
            "preprocessing", "mapping", "`mean` and `std` of the model's images, `interpolation` and `resize_mode`",
            since="1.0",
        ),
        Column("images_sha256", "text", "digest of all images, at the model's size, and labels; another sum before 0.2"),
        Column(
            "stream_sha256", "text", "digest of all tasks' test images and labels, and without `shots` of the training ones, "
            "in any order; runs are compared only where it is the same", since="1.0",
        ),
        Column(
            "memory_sha256", "text", "digest of the images and labels of a stream given as an object; only where it was one",
            since="1.0",
        ),
        Column(
            "data_sha256", "text", "digest of the names and sizes of the files that the stream reads, and of contents of up to "
            "256 MiB; only where it is a named stream that reads files", since="1.0",
        ),
        Column("reference_images", "text", "what `--reference-images` named; `null` for nothing", since="0.3"),
        Column("reference_texts", "text", "what `--reference-texts` named; `null` for nothing", since="0.3"),
        Column("reference_sha256", "text", "digest of the auxiliary images and texts; only where there are any"),
        Column("files_sha256", "text", "digest of files that the settings name (`--alexnet`); only where there are any"),
        Column("versions", "mapping", "of this project, Python and the libraries that decide figures"),
        Column("git", "mapping", "`commit`, and whether there were `uncommitted_changes`, new files included"),
        Column("hardware", "mapping", "`device`, `gpu`, `processor`, `threads`, `processes`, `platform`"),
        Column(
            "parts", "list", "each part's first `state`, and its `versions`, `git` and `hardware`; only where a run went on in "
            "another environment", since="1.0",
        ),
    ),
}  # fmt: skip
