"""Metrics that do not fit what they are given, and names that nobody logs."""

from check_bugs.planting import Bug

BUGS = (
    Bug(
        "metric_of_more_classes",
        "classes",
        "metric",
        "number of classes",
        main=(
            (
                'MulticlassAccuracy(CLASSES, average="micro")',
                'MulticlassAccuracy(10, average="macro")',
            ),
        ),
    ),
    Bug(
        "metric_of_fewer_classes",
        "classes",
        "metric",
        "number of classes",
        main=(("MulticlassF1Score(CLASSES)", "MulticlassF1Score(3)"),),
    ),
    Bug(
        "binary_metric_for_classes",
        "photos",
        "metric",
        "same shape",
        main=(('Accuracy(task="multiclass", num_classes=NUM_CLASSES)', 'Accuracy(task="binary")'),),
        level=("error",),
    ),
    Bug(
        "metric_of_another_shape",
        "clicks",
        "metric",
        "shape",
        main=(
            (".squeeze(1)", ""),
            (
                "nn.BCEWithLogitsLoss(),",
                "lambda y_pred, y: nn.BCEWithLogitsLoss()(y_pred[:, 0], y),",
            ),
        ),
    ),
    Bug(
        "metric_that_ignores_too_little",
        "shapes",
        "metric-labels",
        "255",
        main=(("num_classes=3, ignore_index=VOID", "num_classes=3"),),
    ),
    Bug(
        "class_of_a_metric_for_an_instance",
        "heights",
        "configuration",
        "instance",
        main=(("MeanAbsoluteError()", "MeanAbsoluteError"),),
        level=("error",),
    ),
    Bug(
        "more_top_classes_than_there_are",
        "classes",
        "configuration",
        "top_k",
        main=(
            (
                'MulticlassAccuracy(CLASSES, average="micro")',
                "MulticlassAccuracy(CLASSES, top_k=5)",
            ),
        ),
        level=("error",),
    ),
    Bug(
        "metric_named_loss",
        "heights",
        "configuration",
        '"loss"',
        main=(('{"mae":', '{"loss":'),),
        level=("error",),
    ),
    Bug(
        "metric_that_returns_many_values",
        "typed",
        "metric",
        "one number",
        main=(("PooledMean(distance)", "PooledMean(lambda y_pred, y: (y_pred - y).abs())"),),
    ),
    Bug(
        "early_stopping_waits_for_nothing",
        "classes",
        "monitor",
        'did you mean "loss/validate"',
        main=(('EarlyStopping("loss/validate"', 'EarlyStopping("val_loss"'),),
        level=("error",),
    ),
    Bug(
        "checkpoint_waits_for_nothing",
        "photos",
        "monitor",
        "val_accuracy",
        main=(('ModelCheckpoint(monitor="val_acc"', 'ModelCheckpoint(monitor="val_accuracy"'),),
        level=("error",),
    ),
    Bug(
        "scheduler_waits_for_nothing",
        "words",
        "monitor",
        "validation_loss",
        main=(('"monitor": "val_loss"', '"monitor": "validation_loss"'),),
        level=("error",),
    ),
    Bug(
        "scheduler_without_monitor",
        "words",
        "setup",
        "monitor",
        main=((', "monitor": "val_loss"', ""),),
        level=("error",),
    ),
    Bug(
        "waits_for_a_validation_that_is_none",
        "heights",
        "monitor",
        "loss/validate",
        main=(
            ('        "val_dataloaders": DataLoader(parts["val"], batch_size=32),\n', ""),
            ("torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler.ReduceLROnPlateau"),
            ('{"step_size": 2, "gamma": 0.5}', "{}"),
        ),
        level=("error",),
    ),
    Bug(
        "least_accurate_checkpoint_is_best",
        "photos",
        "monitor-mode",
        'mode="max"',
        main=(('monitor="val_acc", mode="max"', 'monitor="val_acc"'),),
    ),
    Bug(
        "stops_when_the_loss_gets_smaller",
        "classes",
        "monitor-mode",
        'mode="min"',
        main=(
            (
                'EarlyStopping("loss/validate", patience=5)',
                'EarlyStopping("loss/validate", patience=5, mode="max")',
            ),
        ),
    ),
)
