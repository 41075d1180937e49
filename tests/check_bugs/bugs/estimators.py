"""Estimators that can't learn what they are given, or are measured by what they don't say."""

from check_bugs.planting import Bug

BUGS = (
    Bug(
        "metric_of_scores_where_there_are_only_classes",
        "online",
        "metric",
        "SGDClassifier",
        main=(
            ("import MulticlassAccuracy", "import MulticlassAUROC as MulticlassAccuracy"),
            ('"accuracy"', '"auroc"'),
        ),
        level=("error",),
    ),
    Bug(
        "metric_of_fewer_classes_than_the_labels",
        "baseline",
        "metric",
        "is of 3 classes, 0 to 2, and y has",
        main=(("MulticlassAUROC(CLASSES)", "MulticlassAUROC(3)"),),
        level=("error",),
    ),
    Bug(
        "metric_of_classes_for_a_regressor",
        "measures",
        "metric-labels",
        "floating-point",
        main=(
            ("import MeanAbsoluteError", "import Accuracy"),
            ("MeanAbsoluteError()", 'Accuracy(task="multiclass", num_classes=3)'),
        ),
    ),
    Bug(
        "classifier_of_measures",
        "measures",
        "estimator",
        "Unknown label type",
        main=(("KNeighborsRegressor", "KNeighborsClassifier"),),
        level=("error",),
    ),
    Bug(
        "components_beyond_the_features",
        "baseline",
        "estimator",
        "n_components=20",
        hparams=(('"components": 6', '"components": 20'),),
        level=("error",),
    ),
    Bug(
        "gaps_that_the_estimator_does_not_take",
        "boosted",
        "estimator",
        "NaN",
        main=(
            (
                "import HistGradientBoostingClassifier",
                "import ExtraTreesClassifier, GradientBoostingClassifier",
            ),
            (
                "HistGradientBoostingClassifier(\n"
                '            learning_rate=config["rate"], max_iter=config["rounds"],'
                " early_stopping=False\n        )",
                "GradientBoostingClassifier("
                'learning_rate=config["rate"], n_estimators=config["rounds"])',
            ),
        ),
        level=("error",),
    ),
    Bug(
        "a_gap_in_a_late_sample",
        "baseline",
        "nan-data",
        "NaN",
        main=(
            (
                "        self.labels = labels\n",
                "        self.labels = labels\n        self.points[n // 2, 3] = torch.nan\n",
            ),
        ),
    ),
    Bug(
        "early_stopping_by_a_name_that_is_not_logged",
        "boosted",
        "monitor",
        "loss/val",
        main=(('EarlyStopping("loss/validate"', 'EarlyStopping("loss/val"'),),
        level=("error",),
    ),
    Bug(
        "epochs_of_an_estimator_that_is_fitted_at_once",
        "baseline",
        "estimator",
        "max_epochs",
        hparams=(('"task"', '"trainer": {"init": {"max_epochs": 5}},\n    "task"'),),
        level=("error",),
    ),
    Bug(
        "estimator_on_two_devices",
        "measures",
        "estimator",
        "devices",
        hparams=(('"task"', '"trainer": {"init": {"devices": 2}},\n    "task"'),),
        level=("error",),
    ),
    Bug(
        "class_of_an_estimator",
        "online",
        "configuration",
        "instance",
        main=(('SGDClassifier(loss=config["loss"], random_state=0)', "SGDClassifier"),),
        level=("error",),
    ),
    Bug(
        "validated_on_what_it_learned_from",
        "baseline",
        "same-samples",
        "val_dataloaders",
        main=(
            ("Clouds(40, seed=1)", "Clouds(40, seed=0)"),
            ("randn(n, 8", "randn(120, 8"),
            (
                "0.3 * torch.randn(120, 8, generator=drawn)",
                "0.3 * torch.randn(120, 8, generator=drawn)[:n]",
            ),
        ),
    ),
    Bug(
        "as_many_targets_as_inputs",
        "measures",
        "configuration",
        "399",
        main=(("measured(400, 0)", "(measured(400, 0)[0], measured(399, 0)[1])"),),
        level=("error",),
    ),
    Bug(
        "features_that_infer_config_lacks",
        "measures",
        "infer",
        "features",
        main=(("measured(10, 3)[0]", "measured(10, 3)[0][:, :4]"),),
    ),
    Bug(
        "another_estimator_in_infer_config",
        "baseline",
        "infer-model",
        "LogisticRegression",
        main=(
            (
                '"estimator": model(config),\n        "predict',
                '"estimator": LogisticRegression(),\n        "predict',
            ),
        ),
    ),
)
