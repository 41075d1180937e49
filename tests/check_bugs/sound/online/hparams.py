hparams = {
    "task": {"project_name": "bugs"},
    "trainer": {"init": {"max_epochs": 5}},
    "config": {"loss": "hinge"},
}
