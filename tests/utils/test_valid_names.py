"""Names made of what people type."""

from __future__ import annotations

import pytest

from torch_lab.utils.names import as_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("wider_net", "wider_net"),
        ("Wider Net!", "wider_net"),
        ("wider-net", "wider_net"),
        ("  a  --  b  ", "a_b"),
        ("ResNet 50 (pre-trained)", "resnet_50_pre_trained"),
        ("Anna's idea", "annas_idea"),
        ("Größer, Łódź", "grosser_lodz"),
        ("İstanbul", "istanbul"),
        ("lr=1e-3", "lr_1e_3"),
        ("../../etc", "etc"),
        ("__init__", "init"),
        ("日本", ""),
        ("!!!", ""),
    ],
)
def test_a_text_becomes_a_name(text: str, name: str) -> None:
    assert as_name(text) == name
