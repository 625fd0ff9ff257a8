"""Networks of the ``transformers`` package, from tiny configurations with random weights."""

from __future__ import annotations

import transformers
from torch import Tensor, nn


class Only(nn.Module):
    """Calls a model and returns the named fields of its answer, as a tuple of tensors."""

    def __init__(self, model: nn.Module, *fields: str) -> None:
        super().__init__()
        self.model, self.fields = model, fields

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        answer = self.model(pixel_values=image)
        return tuple(answer[field] for field in self.fields)


class Dense(nn.Module):
    """DETR asks for a mask of the image; a full one is made, so that only the image is input."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        answer = self.model(pixel_values=image, pixel_mask=image.new_ones(image[:, 0].shape).long())
        return answer.logits, answer.pred_boxes


def convnext() -> nn.Module:
    config = transformers.ConvNextConfig(
        num_stages=3, depths=[1, 2, 1], hidden_sizes=[8, 12, 20], patch_size=2, num_labels=10
    )
    return Only(transformers.ConvNextForImageClassification(config), "logits")


def convnextv2() -> nn.Module:
    config = transformers.ConvNextV2Config(
        num_stages=3, depths=[1, 2, 1], hidden_sizes=[8, 12, 20], patch_size=2, num_labels=10
    )
    return Only(transformers.ConvNextV2ForImageClassification(config), "logits")


def swin() -> nn.Module:
    """Windows of 4, the second block of a stage shifted, two stages with a merge between."""
    config = transformers.SwinConfig(
        image_size=(32, 48),
        patch_size=2,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
        num_labels=10,
        drop_path_rate=0.0,
        attn_implementation="eager",  # torch.export fails on the fused one
    )
    return Only(transformers.SwinForImageClassification(config), "logits")


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        image_size=(32, 48),
        patch_size=8,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=28,
        num_labels=10,
    )
    return Only(transformers.ViTForImageClassification(config), "logits")


def mobilevit() -> nn.Module:
    config = transformers.MobileViTConfig(
        image_size=64,
        hidden_sizes=[8, 12, 16],
        neck_hidden_sizes=[4, 6, 8, 10, 12, 14, 20],
        num_attention_heads=4,
        mlp_ratio=2.0,
        expand_ratio=2.0,
        num_labels=10,
    )
    return Only(transformers.MobileViTForImageClassification(config), "logits")


def segformer() -> nn.Module:
    config = transformers.SegformerConfig(
        num_encoder_blocks=3,
        depths=[1, 1, 1],
        sr_ratios=[4, 2, 1],
        hidden_sizes=[8, 12, 20],
        patch_sizes=[7, 3, 3],
        strides=[4, 2, 2],
        num_attention_heads=[1, 2, 4],
        mlp_ratios=[2, 2, 2],
        decoder_hidden_size=14,
        num_labels=5,
    )
    return Only(transformers.SegformerForSemanticSegmentation(config), "logits")


def detr() -> nn.Module:
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[12, 16, 20, 24],
        depths=[1, 1, 1, 1],
        out_features=["stage4"],
    )
    config = transformers.DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        d_model=16,
        num_queries=7,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=28,
        decoder_ffn_dim=28,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_labels=5,
    )
    return Dense(transformers.DetrForObjectDetection(config))


def levit() -> nn.Module:
    config = transformers.LevitConfig(
        image_size=64,
        kernel_size=3,
        stride=2,
        padding=1,
        patch_size=16,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 3, 4],
        depths=[1, 1, 1],
        key_dim=[4, 4, 4],
        mlp_ratio=[2, 2, 2],
        attention_ratio=[2, 2, 2],
        num_labels=10,
    )
    return Only(transformers.LevitForImageClassification(config), "logits")


def cvt() -> nn.Module:
    config = transformers.CvtConfig(
        patch_sizes=[7, 3],
        patch_stride=[4, 2],
        patch_padding=[2, 1],
        embed_dim=[8, 12],
        num_heads=[1, 2],
        depth=[1, 2],
        mlp_ratio=[2.0, 2.0],
        attention_drop_rate=[0.0, 0.0],
        drop_rate=[0.0, 0.0],
        drop_path_rate=[0.0, 0.0],
        qkv_bias=[True, True],
        cls_token=[False, True],
        qkv_projection_method=["dw_bn", "dw_bn"],
        kernel_qkv=[3, 3],
        padding_kv=[1, 1],
        stride_kv=[2, 2],
        padding_q=[1, 1],
        stride_q=[1, 1],
        num_labels=10,
    )
    return Only(transformers.CvtForImageClassification(config), "logits")


def swinv2() -> nn.Module:
    """Cosine attention with a continuous position bias; normalisation after the block."""
    config = transformers.Swinv2Config(
        image_size=(32, 48),
        patch_size=2,
        embed_dim=8,
        depths=[2],
        num_heads=[2],
        window_size=4,
        num_labels=10,
        drop_path_rate=0.0,
    )
    return Only(transformers.Swinv2ForImageClassification(config), "logits")
