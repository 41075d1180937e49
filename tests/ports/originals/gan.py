"""A GAN that learns to draw rings, with two optimizers stepped by hand."""

import pytorch_lightning as pl
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

SIZE = 8


def rings(n):
    """Small images of rings of different radius and place."""
    steps = torch.linspace(-1, 1, SIZE)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    center = 0.6 * torch.rand(n, 2, 1, 1) - 0.3
    radius = 0.4 + 0.3 * torch.rand(n, 1, 1)
    distance = ((x - center[:, 0]) ** 2 + (y - center[:, 1]) ** 2).sqrt()
    return (2 * torch.exp(-20 * (distance - radius) ** 2) - 1).unsqueeze(1)


def make_grid(images, nrow):
    """Images side by side in one."""
    rows = [torch.cat(list(row), dim=2) for row in images.split(nrow)]
    return torch.cat(rows, dim=1)


class Generator(nn.Module):
    def __init__(self, latent_dim, img_shape):
        super().__init__()
        self.img_shape = img_shape

        def block(in_feat, out_feat, normalize=True):
            layers = [nn.Linear(in_feat, out_feat)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat, 0.8))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(
            *block(latent_dim, 32, normalize=False),
            *block(32, 64),
            nn.Linear(64, img_shape.numel()),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.model(z).view(z.size(0), *self.img_shape)


class Discriminator(nn.Module):
    def __init__(self, img_shape):
        super().__init__()
        self.model = nn.Sequential(
            nn.Flatten(),
            nn.Linear(img_shape.numel(), 64),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Dropout(0.1),
            nn.Linear(64, 1),
        )

    def forward(self, img):
        return self.model(img)


class GAN(pl.LightningModule):
    def __init__(self, latent_dim=16, lr=0.0002, b1=0.5, b2=0.999):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False

        img_shape = torch.Size((1, SIZE, SIZE))
        self.generator = Generator(latent_dim, img_shape)
        self.discriminator = Discriminator(img_shape)

        self.validation_z = torch.randn(8, latent_dim)
        self.example_input_array = torch.zeros(2, latent_dim)

    def forward(self, z):
        return self.generator(z)

    def adversarial_loss(self, y_hat, y):
        return F.binary_cross_entropy_with_logits(y_hat, y)

    def training_step(self, batch):
        (imgs,) = batch
        optimizer_g, optimizer_d = self.optimizers()
        z = torch.randn(imgs.shape[0], self.hparams.latent_dim).type_as(imgs)

        self.toggle_optimizer(optimizer_g)
        valid = torch.ones(imgs.size(0), 1).type_as(imgs)
        g_loss = self.adversarial_loss(self.discriminator(self(z)), valid)
        self.log("g_loss", g_loss, prog_bar=True)
        self.manual_backward(g_loss)
        optimizer_g.step()
        optimizer_g.zero_grad()
        self.untoggle_optimizer(optimizer_g)

        self.toggle_optimizer(optimizer_d)
        real_loss = self.adversarial_loss(self.discriminator(imgs), valid)
        fake = torch.zeros(imgs.size(0), 1).type_as(imgs)
        fake_loss = self.adversarial_loss(self.discriminator(self(z).detach()), fake)
        d_loss = (real_loss + fake_loss) / 2
        self.log("d_loss", d_loss, prog_bar=True)
        self.manual_backward(d_loss)
        optimizer_d.step()
        optimizer_d.zero_grad()
        self.untoggle_optimizer(optimizer_d)

    def on_train_epoch_end(self):
        scheduler_g, scheduler_d = self.lr_schedulers()
        scheduler_g.step()
        scheduler_d.step()

        z = self.validation_z.type_as(self.generator.model[0].weight)
        grid = make_grid((self(z).detach() + 1) / 2, nrow=4)
        self.logger.experiment.add_image("generated_images", grid, self.current_epoch)

    def configure_optimizers(self):
        betas = (self.hparams.b1, self.hparams.b2)
        opt_g = torch.optim.Adam(self.generator.parameters(), lr=self.hparams.lr, betas=betas)
        opt_d = torch.optim.Adam(self.discriminator.parameters(), lr=self.hparams.lr, betas=betas)
        sched_g = torch.optim.lr_scheduler.ExponentialLR(opt_g, gamma=0.95)
        sched_d = torch.optim.lr_scheduler.ExponentialLR(opt_d, gamma=0.95)
        return [opt_g, opt_d], [sched_g, sched_d]


def main():
    pl.seed_everything(7)
    dataset = TensorDataset(rings(192))
    train_loader = DataLoader(dataset, batch_size=32, shuffle=True)

    model = GAN(latent_dim=16, lr=2e-3)
    trainer = pl.Trainer(accelerator="auto", devices=1, max_epochs=4, log_every_n_steps=2)
    trainer.fit(model, train_loader)


if __name__ == "__main__":
    main()
