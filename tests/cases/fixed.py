"""Operators that keep the source's order on every port: safe between two convolutions.

A body makes ``e`` (and, if it likes, ``r``, which the second convolution reads) of ``c``, the first
convolution's result of shape (2, 4, 6, 6).
"""

from __future__ import annotations

from tests.support.case import Case

Weights = dict[str, tuple[int, ...]]


def between(
    op: str,
    body: str,
    constants: str = "",
    inputs: str = "",
    weights: Weights | None = None,
    kind: str = "float",
    **options: object,
) -> Case:
    """A graph with the operator between two convolutions."""
    extra = f", {inputs}" if inputs else ""
    last = "r" if "r =" in body or ", r" in body else "c"
    text = f"""g (float[2,4,6,6] x{extra}) => (float[] y, {kind} e) <{constants}> {{
        c = Conv(x, kernel)
        {body}
        y = Conv({last}, kernel)
    }}"""
    held = {"kernel": (4, 4, 1, 1), **(weights or {})}
    return Case(op, text=text, weights=held, whole=True, fixed=True, **options)  # type: ignore[arg-type]


CASES = [
    between("Attention", "e = Attention(c, c, c)\n r = Relu(e)", kind="float[]", tol=1e-5),
    between(
        "RotaryEmbedding",
        "e = RotaryEmbedding(c, cos, sin)\n r = Relu(e)",
        kind="float[]",
        weights={"cos": (2, 6, 3), "sin": (2, 6, 3)},
        tol=1e-5,
    ),
    between("NonZero", "e = NonZero(c)", kind="int64[]"),
    between(
        "TfIdfVectorizer",
        """f = Flatten(c)
        i = Cast<to = 7>(f)
        e = TfIdfVectorizer<mode = "TF", min_gram_length = 1, max_gram_length = 2, max_skip_count = 1,
            ngram_counts = [0, 3], ngram_indexes = [0, 1, 2, 3], pool_int64s = [0, 1, 2, 1, 0]>(i)""",
        kind="float[]",
    ),
    between(
        "NonMaxSuppression",
        """b = Reshape(c, boxes)
        s = Reshape(c, scores)
        e = NonMaxSuppression(b, s, most)""",
        "int64[3] boxes = {2, -1, 4}, int64[3] scores = {2, 4, 36}, int64 most = {3}",
        kind="int64[]",
    ),
    between(
        "EyeLike", "m = Reshape(c, matrix)\n e = EyeLike(m)", "int64[2] matrix = {8, 36}", kind="float[]"
    ),
    between(
        "AffineGrid",
        "e = AffineGrid(theta, size)\n r = GridSample(c, e)",
        "int64[4] size = {2, 4, 6, 5}",
        inputs="float[2,2,3] theta",
        kind="float[]",
        tol=1e-5,
    ),
    between(
        "Col2Im",
        "m = Reshape(c, blocks)\n e = Col2Im<strides = [2, 2]>(m, image, block)\n r = Relu(e)",
        "int64[3] blocks = {2, 16, 9}, int64[2] image = {6, 6}, int64[2] block = {2, 2}",
        kind="float[]",
        tol=1e-5,
    ),
    between(
        "STFT",
        "s = Reshape(c, signal)\n e = STFT(s, step, , length)",
        "int64[3] signal = {2, 144, 1}, int64 step = {8}, int64 length = {16}",
        kind="float[]",
        tol=1e-5,
    ),
    between(
        "Range",
        "e = Range(from, to, by)\n r = Add(c, e)",
        "float by = {1.0}",
        inputs="float from, float to",
        feeds={"from": 0.0, "to": 6.0},
        kind="float[]",
        tol=1e-6,
    ),
    *[
        between(op, f"e = {op}<seed = 1.0, shape = [2, 4, 6, 6]>()\n r = Add(c, e)", kind="float[]", tol=1e-6)
        for op in ("RandomNormal", "RandomUniform")
    ],
    *[
        between(op, f"e = {op}<seed = 1.0>(c)\n r = Add(c, e)", kind="float[]", tol=1e-6)
        for op in ("RandomNormalLike", "RandomUniformLike")
    ],
    between(
        "Bernoulli", "p = Sigmoid(c)\n e = Bernoulli<seed = 1.0>(p)\n r = Add(c, e)", kind="float[]", tol=1e-6
    ),
    between(
        "Multinomial",
        "p = Reshape(c, matrix)\n e = Multinomial<seed = 1.0, sample_size = 5>(p)",
        "int64[2] matrix = {8, 36}",
        until=21,
        kind="int32[]",
    ),
    between(
        "If",
        """e = If (flag) <
            then_branch = one () => (float[] p) { p = Relu(c) },
            else_branch = two () => (float[] q) { q = Neg(c) }>
        r = Relu(e)""",
        inputs="bool flag",
        kind="float[]",
        tol=1e-5,
    ),
    between(
        "If",
        """e = If (flag) <
            then_branch = one () => (float[] p) { p = Conv(c, kernel) },
            else_branch = two () => (float[] q) { q = Conv(x, kernel) }>
        r = Relu(e)""",
        inputs="bool flag",
        kind="float[]",
        tol=1e-5,
        note="convolutions inside",
    ),
    between(
        "Loop",
        """r, e = Loop (count, go, c) <
            body = one (int64 i, bool cond, float[] state) => (bool again, float[] next, float[] kept) {
                again = Identity(cond)
                k = Conv(state, kernel)
                next = Add(k, c)
                kept = Relu(k)
            }>""",
        "int64 count = {3}, bool go = {1}",
        kind="float[]",
        tol=1e-4,
    ),
    between(
        "Scan",
        """e, r = Scan<num_scan_inputs = 1,
            body = one (float[4,6,6] sum, float[4,6,6] one)
                => (float[4,6,6] more, float[4,6,6] each) {
                more = Add(sum, one)
                each = Relu(more)
            }>(start, c)""",
        inputs="float[4,6,6] start",
        kind="float[]",
        since=9,
        tol=1e-5,
    ),
    between(
        "SequenceConstruct",
        "s = SequenceConstruct(c, x)\n e = SequenceAt(s, one)\n r = SequenceAt(s, none)",
        "int64 one = {1}, int64 none = {0}",
        kind="float[]",
        tol=1e-6,
    ),
    between(
        "SequenceAt",
        "s = SequenceConstruct(x, c)\n e = SequenceAt(s, last)\n r = Relu(e)",
        "int64 last = {-1}",
        kind="float[]",
        tol=1e-6,
    ),
    *[
        between(
            op,
            """n = SequenceEmpty<dtype = 1>()
        a = SequenceInsert(n, c)
        b = SequenceInsert(a, x)
        d = SequenceErase(b, last)
        e = SequenceLength(d)
        q = SequenceAt(d, last)
        r = Reshape(q, image)""",
            "int64 last = {-1}, int64[4] image = {2, 4, 6, 6}",
            kind="int64[]",
            tol=1e-6,
        )
        for op in ("SequenceEmpty", "SequenceInsert", "SequenceErase", "SequenceLength")
    ],
    between(
        "SequenceMap",
        """s = SequenceConstruct(c, x)
        m = SequenceMap (s) <body = one (float[2,4,6,6] a) => (float[2,4,6,6] b) { b = Relu(a) }>
        e = SequenceAt(m, one)
        r = SequenceAt(m, none)""",
        "int64 one = {1}, int64 none = {0}",
        kind="float[]",
        tol=1e-6,
    ),
    *[
        between(
            "ConcatFromSequence",
            f"""s = SequenceConstruct(c, x)
        e = ConcatFromSequence<axis = {axis}>(s)
        r = Relu(e)""",
            kind="float[]",
            tol=1e-6,
        )
        for axis in (2, -1)
    ],
    between(
        "SplitToSequence",
        """s = SplitToSequence<axis = 2>(c, three)
        e = SequenceAt(s, one)
        r = SequenceAt(s, none)""",
        "int64 one = {1}, int64 none = {0}, int64 three = {3}",
        kind="float[]",
        tol=1e-6,
    ),
    *[
        between(
            op,
            """o = Optional(c)
        e = OptionalHasElement(o)
        r = OptionalGetElement(o)""",
            kind="bool[]",
            tol=1e-6,
        )
        for op in ("Optional", "OptionalHasElement", "OptionalGetElement")
    ],
    between(
        "NegativeLogLikelihoodLoss",
        """p = LogSoftmax<axis = 1>(c)
        e = NegativeLogLikelihoodLoss<reduction = "none">(p, labels)""",
        inputs="int64[2,6,6] labels",
        kind="float[]",
        tol=1e-5,
    ),
    between(
        "SoftmaxCrossEntropyLoss",
        """e = SoftmaxCrossEntropyLoss<reduction = "none">(c, labels)""",
        inputs="int64[2,6,6] labels",
        kind="float[]",
        tol=1e-5,
    ),
    between(
        "TensorScatter",
        "e = TensorScatter<axis = -2>(c, update, where)\n r = Relu(e)",
        inputs="float[2,4,2,6] update, int64[2] where",
        feeds={"where": [1, 3]},
        kind="float[]",
        tol=1e-6,
    ),
    *[
        between(op, f"e = {op}(size)", inputs="int64 size", feeds={"size": 6}, kind="float[]", tol=1e-6)
        for op in ("HannWindow", "HammingWindow", "BlackmanWindow")
    ],
    between(
        "MelWeightMatrix",
        "e = MelWeightMatrix(bins, n, rate, low, high)\n r = Add(c, e)",
        "int64 bins = {6}, int64 n = {10}, int64 rate = {8192}, float low = {0.0}, float high = {4096.0}",
        kind="float[]",
        tol=1e-6,
    ),
]
