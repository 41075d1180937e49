import torch
from plotly import graph_objects as go
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class PerClass(Metric):
    """A share for each class: a dict of results."""

    def __init__(self):
        super().__init__()
        self.add_state("hits", default=torch.zeros(2), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(2), dist_reduce_fx="sum")

    def update(self, y_pred, y):
        truth = y.argmax(1)
        for k in range(2):
            self.hits[k] += (y_pred.argmax(1)[truth == k] == k).sum()
            self.count[k] += (truth == k).sum()

    def compute(self):
        return {f"class {k}": self.hits[k] / self.count[k].clamp(1) for k in range(2)}

    def plot(self):
        shares = self.compute()
        return go.Figure(go.Bar(x=list(shares), y=[float(each) for each in shares.values()]))


class Drawing(Metric):
    """Only draws: its value is None."""

    def __init__(self):
        super().__init__()
        self.add_state("scores", default=[], dist_reduce_fx="cat")

    def update(self, y_pred, y):
        self.scores.append(y_pred[:, 0].detach())

    def compute(self):
        return None

    def plot(self):
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots()
        axes.hist(dim_zero_cat(self.scores).cpu())
        return figure, axes
