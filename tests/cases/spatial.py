"""Convolutions, pools and their kin: the source's order and channels last, the image's axes exchanged."""

from __future__ import annotations

from tests.support.case import NEWEST, Case, case, fed, given, weight

SUMS = 1e-5
NC = {"n": 2, "c": 3}
IMAGES = ("ncw", "nchw", "ncdhw")


def _windows(op: str, **options: object) -> list[Case]:
    """A pool in one, two and three dimensions, with every attribute that has a number per axis."""
    cases = []
    for image in IMAGES:
        rank = len(image) - 2
        kernel, strides = [3, 2, 2][:rank], [1, 2, 1][:rank]
        begins, ends = [0, 1, 0][:rank], [1, 0, 1][:rank]
        cases.append(
            case(op, image, kernel_shape=kernel, strides=strides, pads=begins + ends, tol=SUMS, **options)
        )
    return cases


def _globals(op: str, until: int = NEWEST) -> list[Case]:
    return [case(op, image, tol=SUMS, until=until) for image in IMAGES]


CASES = [
    case("Conv", "ncw", weight("oc3"), weight("o"), pads=[1, 0], strides=[2], tol=SUMS),
    case("Conv", "nchw", weight("oc32"), weight("o"), pads=[1, 0, 0, 1], strides=[1, 2], tol=SUMS),
    case("Conv", "nchw", weight("oc32"), dilations=[1, 2], tol=SUMS),
    case("Conv", "nchw", weight("oc32"), auto_pad="SAME_UPPER", strides=[2, 1], tol=SUMS),
    case("Conv", "nchw", weight("oc32"), weight("o"), auto_pad="SAME_LOWER", tol=SUMS),
    case("Conv", "nchw", weight("oc11"), auto_pad="VALID", kernel_shape=[1, 1], tol=SUMS),
    case("Conv", "nchw", weight("o232"), group=2, sizes={"c": 4, "o": 6}, tol=SUMS),
    case("Conv", "nchw", weight("o132"), group=4, sizes={"c": 4, "o": 4}, note="depthwise", tol=SUMS),
    case("Conv", "nchw", "oc32", "o", note="computed kernel", tol=SUMS),
    case("Conv", "nchw", "oc32", note="computed kernel", tol=SUMS),
    case("Conv", "ncdhw", weight("oc321"), weight("o"), pads=[1, 0, 0, 0, 1, 0], tol=SUMS),
    case("ConvTranspose", "ncw", weight("co3"), weight("o"), strides=[2], output_padding=[1], tol=SUMS),
    case("ConvTranspose", "nchw", weight("co32"), strides=[2, 3], output_padding=[1, 2], tol=SUMS),
    case("ConvTranspose", "nchw", weight("co32"), weight("o"), pads=[1, 0, 0, 1], tol=SUMS),
    case(
        "ConvTranspose",
        "nchw",
        weight("co33"),
        strides=[2, 2],
        output_shape=[11, 14],
        sizes={"h": 5, "w": 7},
        tol=SUMS,
    ),
    case("ConvTranspose", "nchw", weight("co33"), strides=[2, 2], auto_pad="SAME_UPPER", tol=SUMS),
    case("ConvTranspose", "nchw", weight("c332"), weight("6"), group=2, sizes={"c": 4}, tol=SUMS),
    case("ConvTranspose", "nchw", "co32", tol=SUMS, note="computed kernel"),
    case("ConvTranspose", "ncdhw", weight("co321"), dilations=[1, 2, 1], tol=SUMS),
    case("ConvInteger", fed("nchw", "uint8", 0, 9), weight("oc32", "uint8", 0, 9)),
    case(
        "ConvInteger",
        fed("nchw", "uint8", 0, 9),
        weight("oc32", "uint8", 0, 9),
        given(3, "uint8"),
        given(4, "uint8"),
        pads=[1, 0, 0, 1],
    ),
    case(
        "ConvInteger",
        fed("nchw", "uint8", 0, 9),
        weight("oc32", "uint8", 0, 9),
        None,
        given(4, "uint8"),
        strides=[1, 2],
    ),
    *[
        case(
            "QLinearConv",
            fed("nchw", "uint8", 0, 99),
            given(0.1, "float32"),
            given(3, "uint8"),
            weight("oc32", "uint8", 0, 9),
            given(0.2, "float32"),
            given(4, "uint8"),
            given(0.5, "float32"),
            given(3, "uint8"),
            *bias,
            pads=[1, 0, 0, 1],
        )
        for bias in ((), (weight("o", "int32", -9, 9),))
    ],
    case(
        "QLinearConv",
        fed("nchw", "uint8", 0, 99),
        given(0.1, "float32"),
        given(3, "uint8"),
        weight("oc32", "int8", -9, 9),
        weight("o", low=0.1),
        weight("o", "int8", 0, 0),
        given(0.5, "float32"),
        given(3, "uint8"),
        note="scales of channels",
    ),
    case("DeformConv", "nchw", weight("oc22"), "n8hw", pads=[0, 0, 1, 1], tol=SUMS),
    case("DeformConv", "nchw", weight("oc22"), "n8hw", weight("o"), "n4hw", pads=[0, 0, 1, 1], tol=SUMS),
    *_windows("MaxPool"),
    *_windows("MaxPool", outputs=2, since=8),
    case("MaxPool", "nchw", kernel_shape=[3, 2], ceil_mode=1, dilations=[2, 1], since=10),
    case("MaxPool", "nchw", kernel_shape=[3, 2], auto_pad="SAME_UPPER", strides=[2, 1]),
    case("MaxPool", "nchw", kernel_shape=[2, 2], storage_order=1, outputs=2, since=8, fixed=True),
    *_windows("AveragePool"),
    *_windows("AveragePool", count_include_pad=1),
    case("AveragePool", "nchw", kernel_shape=[2, 3], ceil_mode=1, strides=[2, 2], since=10, tol=SUMS),
    case("AveragePool", "nchw", kernel_shape=[2, 3], dilations=[2, 1], since=19, tol=SUMS),
    *_windows("LpPool"),
    case("LpPool", "nchw", kernel_shape=[2, 3], p=1, auto_pad="SAME_LOWER", tol=SUMS),
    *_globals("GlobalAveragePool"),
    *_globals("GlobalMaxPool"),
    *_globals("GlobalLpPool", until=21),
    Case(
        "MaxUnpool",
        since=9,
        sizes={"h": 4, "w": 6},
        text="""g (float[$n,$c,$h,$w] x) => (float[] y) {
        p, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
        y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(p, i)
    }""",
    ),
    Case(
        "MaxUnpool",
        since=9,
        text="""g (float[$n,$c,5,7] x) => (float[] y)
        <int64[4] s = {$n, $c, 5, 7}> {
        p, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
        y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(p, i, s)
    }""",
    ),
    *[case("BatchNormalization", image, *[weight("c", low=0.2)] * 4, tol=SUMS) for image in (*IMAGES, "nc")],
    case("BatchNormalization", "nchw", *[fed("c", low=0.2)] * 4, epsilon=0.1, tol=SUMS),
    case(
        "BatchNormalization",
        "nchw",
        *[weight("c", low=0.2)] * 4,
        training_mode=1,
        outputs=3,
        since=14,
        fixed=True,
        tol=SUMS,
    ),
    case(
        "BatchNormalization",
        "nchw",
        *[weight("chw", low=0.2)] * 4,
        spatial=0,
        until=8,
        dynamic=False,
        whole=True,
        tol=SUMS,
    ),
    *[case("InstanceNormalization", image, weight("c"), weight("c"), tol=SUMS) for image in IMAGES],
    *[
        case(
            "GroupNormalization",
            image,
            weight("6"),
            weight("6"),
            num_groups=3,
            sizes={"c": 6},
            since=21,
            tol=SUMS,
        )
        for image in IMAGES
    ],
    case("LRN", "nchw", size=3, alpha=0.1, tol=SUMS),
    case("LRN", "nchw", size=2, alpha=0.1, bias=2.0, beta=0.5, tol=SUMS),
    case("Upsample", "nchw", scales=[1.0, 1.0, 2.0, 3.0], until=8),
    case("Upsample", "nchw", scales=[1.0, 1.0, 2.0, 2.0], mode="linear", until=8, tol=SUMS),
    case("Upsample", "nchw", scales=[1.0, 2.0, 2.0, 2.0], until=8, fixed=True),
    case("Upsample", "nchw", given([1.0, 1.0, 2.0, 3.0], "float32"), since=9, until=9),
    case("Upsample", "nchw", given([1.0, 2.0, 1.0, 1.0], "float32"), since=9, until=9, fixed=True),
    case("Upsample", "nchw", given([1.0, 1.0, 2.0, 2.0], "float32", constant=False), since=9, until=9),
    *[
        case("Resize", "nchw", given([1.0, 1.0, 2.0, 1.5], "float32"), mode=mode, until=10, tol=SUMS)
        for mode in ("nearest", "linear")
    ],
    *[
        case(
            "Resize",
            "nchw",
            given([], "float32"),
            given([1.0, 1.0, 2.0, 1.5], "float32"),
            mode=mode,
            since=11,
            tol=SUMS,
        )
        for mode in ("nearest", "linear", "cubic")
    ],
    *[
        case(
            "Resize",
            "nchw",
            given([], "float32"),
            given([], "float32"),
            given(lambda s: [s["n"], s["c"], 9, 4]),
            mode=mode,
            since=11,
            until=12,
            sizes=NC,
            tol=SUMS,
        )
        for mode in ("nearest", "linear")
    ],
    *[
        case(
            "Resize",
            "nchw",
            None,
            None,
            given(lambda s: [s["n"], s["c"], 9, 4]),
            mode=mode,
            since=13,
            sizes=NC,
            tol=SUMS,
        )
        for mode in ("nearest", "linear", "cubic")
    ],
    case("Resize", "nchw", None, None, given(lambda s: [s["n"], s["c"], 9, 4], constant=False), since=13),
    case("Resize", "nchw", None, given([1.0, 1.0, 0.6, 2.0], "float32", constant=False), since=13),
    case(
        "Resize",
        "nchw",
        given([0.0, 0.0, 0.1, 0.2, 1.0, 1.0, 0.8, 0.9], "float32"),
        given([1.0, 1.0, 2.0, 1.5], "float32"),
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        since=11,
        tol=SUMS,
    ),
    case("Resize", "nchw", None, given([1.0, 2.0, 2.0, 1.0], "float32"), since=13, fixed=True),
    case("Resize", "nchw", None, given([2.0, 1.5], "float32"), axes=[2, -1], since=18),
    case("Resize", "nchw", None, given([2.0], "float32"), axes=[3], mode="linear", since=18, tol=SUMS),
    case("Resize", "nchw", None, None, given([9, 4]), axes=[3, 2], since=18, dynamic=False),
    case(
        "Resize",
        "nchw",
        None,
        None,
        given([9, 9]),
        axes=[2, 3],
        since=18,
        keep_aspect_ratio_policy="not_larger",
        fixed=True,
    ),
    case("Resize", "nchw", None, given([2.0], "float32"), axes=[1], since=18, fixed=True),
    case(
        "Resize",
        "nchw",
        None,
        given([1.0, 1.0, 0.5, 0.6], "float32"),
        mode="linear",
        antialias=1,
        since=18,
        tol=SUMS,
    ),
    case("Resize", "ncw", None, given([1.0, 1.0, 2.0], "float32"), since=13),
    case("Resize", "ncdhw", None, given([1.0, 1.0, 2.0, 1.0, 3.0], "float32"), since=13),
    case("DepthToSpace", "nchw", blocksize=2, sizes={"c": 12}),
    *[
        case("DepthToSpace", "nchw", blocksize=2, mode=mode, sizes={"c": 12}, since=11)
        for mode in ("DCR", "CRD")
    ],
    case("SpaceToDepth", "nchw", blocksize=2, sizes={"h": 4, "w": 6}),
    case("GridSample", "nchw", fed("nxy2", low=-1.1, high=1.1), tol=SUMS),
    case(
        "GridSample",
        "nchw",
        fed("nxy2", low=-1.1, high=1.1),
        padding_mode="border",
        align_corners=1,
        tol=SUMS,
    ),
    case("GridSample", "ncdhw", fed("nxyz3", low=-1.1, high=1.1), since=20, tol=SUMS),
    case(
        "RoiAlign",
        "nchw",
        given([[0, 0, 2, 3], [1, 1, 4, 4], [0.5, 0, 1.5, 4]], "float32"),
        given([0, 1, 0]),
        output_height=2,
        output_width=3,
        mode="avg",
        sampling_ratio=2,
        spatial_scale=0.5,
        tol=SUMS,
        until=15,
    ),
    case(
        "RoiAlign",
        "nchw",
        given([[0, 0, 2, 3], [1, 1, 4, 4], [0.5, 0, 1.5, 4]], "float32"),
        given([0, 1, 0]),
        output_height=2,
        output_width=3,
        mode="max",
        sampling_ratio=2,
        spatial_scale=0.5,
        coordinate_transformation_mode="output_half_pixel",
        since=16,
        tol=SUMS,
    ),
    case(
        "MaxRoiPool",
        "nchw",
        given([[0, 0, 0, 3, 2], [1, 1, 0, 4, 4]], "float32"),
        pooled_shape=[2, 3],
        until=21,
        tol=SUMS,
    ),
]
