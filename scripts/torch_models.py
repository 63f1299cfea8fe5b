"""PyTorch definitions of every model in crates/lsgd-models, tensor for tensor.

A model exported by `lsgd-train export` loads into these with
`build(kind, ...).load_state_dict(tensors, strict=False)`; only BatchNorm's unused
`num_batches_tracked` may be missing. `load` below does this and refuses any other difference.

ResNet-18/34/50 are torchvision's own (torchvision is needed only for these three). VGG has the
features of torchvision's `vgg*_bn` and the small head that is usual on CIFAR.
"""

import torch
from torch import nn
from torch.nn import functional as F

# Residual blocks in each of the three stages: depth = 6n + 2 (arXiv 1512.03385, section 4.2).
CIFAR_BLOCKS = {
    "resnet8": 1,
    "resnet14": 2,
    "resnet20": 3,
    "resnet32": 5,
    "resnet44": 7,
    "resnet56": 9,
    "resnet110": 18,
}
# Convolutions in each of the five stages (arXiv 1409.1556, table 1: A, B, D, E).
VGG_CONVOLUTIONS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
VGG_CHANNELS = (64, 128, 256, 512, 512)
IMAGENET = ("resnet18", "resnet34", "resnet50")
KINDS = ("cnn7", *CIFAR_BLOCKS, *IMAGENET, *VGG_CONVOLUTIONS, "cifarnet")


class Cnn7(nn.Module):
    """The 7-layer network of the EASGD paper (arXiv 1412.6651); no padding anywhere."""

    def __init__(self, classes, channels, height, width, dropout):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 5)
        self.conv2 = nn.Conv2d(64, 128, 5)
        self.conv3 = nn.Conv2d(128, 64, 3)
        side = [((s - 4) // 2 - 4) // 2 - 2 for s in (height, width)]
        self.fc1 = nn.Linear(64 * side[0] * side[1], 256)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(256, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x))
        return self.fc2(self.dropout(self.fc1(x.flatten(1))))


class CifarBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads channels with zeros (option A)."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        extra = outputs - inputs
        self.channel_padding = (extra // 2, extra - extra // 2)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return F.relu(y + F.pad(shortcut, (0, 0, 0, 0, *self.channel_padding)))


class CifarResNet(nn.Module):
    """The paper's CIFAR ResNet of depth 6n + 2, `base_width` channels in its first stage."""

    def __init__(self, blocks, classes, channels, base_width):
        super().__init__()
        w = base_width
        self.conv1 = nn.Conv2d(channels, w, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(w)
        self.layer1 = self.stage(w, w, 1, blocks)
        self.layer2 = self.stage(w, 2 * w, 2, blocks)
        self.layer3 = self.stage(2 * w, 4 * w, 2, blocks)
        self.fc = nn.Linear(4 * w, classes)

    @staticmethod
    def stage(inputs, outputs, stride, blocks):
        first = CifarBlock(inputs, outputs, stride)
        return nn.Sequential(first, *(CifarBlock(outputs, outputs, 1) for _ in range(1, blocks)))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean((2, 3)))


class Vgg(nn.Module):
    """VGG with BatchNorm: torchvision's `features`, and a head of two hidden layers of 512."""

    def __init__(self, convolutions, classes, channels, height, width, dropout):
        super().__init__()
        layers = []
        inputs = channels
        for outputs, count in zip(VGG_CHANNELS, convolutions):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(512 * (height // 32) * (width // 32), 512),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.Linear(512, classes),
        )

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class CifarNetBlock(nn.Module):
    """Two 3x3 convolutions; the first is followed by a pool."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x):
        x = F.relu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        return F.relu(self.bn2(self.conv2(x)))


class CifarNet(nn.Module):
    """The network of arXiv 2404.00498 with ReLU in place of GELU, and BatchNorm's scales trained.

    The first layer has a filter for each principal component of its 2x2 patches, and its negative.
    """

    def __init__(self, classes, channels):
        super().__init__()
        first = 2 * channels * 4
        self.conv1 = nn.Conv2d(channels, first, 2)
        self.block1 = CifarNetBlock(first, 64)
        self.block2 = CifarNetBlock(64, 256)
        self.block3 = CifarNetBlock(256, 256)
        self.fc = nn.Linear(256, classes, bias=False)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(F.relu(self.conv1(x)))))
        return self.fc(x.amax((2, 3))) / 9


def build(kind, classes=10, channels=3, height=32, width=32, base_width=16, dropout=0.5):
    """The model of that name, with PyTorch's default initial weights."""
    if kind == "cnn7":
        return Cnn7(classes, channels, height, width, dropout)
    if kind in CIFAR_BLOCKS:
        return CifarResNet(CIFAR_BLOCKS[kind], classes, channels, base_width)
    if kind in VGG_CONVOLUTIONS:
        return Vgg(VGG_CONVOLUTIONS[kind], classes, channels, height, width, dropout)
    if kind == "cifarnet":
        return CifarNet(classes, channels)
    if kind in IMAGENET:
        import torchvision

        model = getattr(torchvision.models, kind)(num_classes=classes)
        if channels != 3:
            model.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        return model
    raise ValueError(f"unknown model {kind!r}: known are {', '.join(KINDS)}")


def load(model, tensors):
    """Copies named tensors into `model`; refuses missing and unknown names and wrong shapes."""
    result = model.load_state_dict(tensors, strict=False)
    missing = [k for k in result.missing_keys if not k.endswith("num_batches_tracked")]
    if missing or result.unexpected_keys:
        raise ValueError(f"missing {missing}, unexpected {result.unexpected_keys}")
    return model


def trainable(model):
    """Number of trainable scalars, without running statistics."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


if __name__ == "__main__":
    torch.manual_seed(0)
    for name in KINDS:
        print(f"{name:10} {trainable(build(name)):>12,}")
