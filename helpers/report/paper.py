"""What the paper reports, as numbers, so that a figure can set them beside ours.

Read off marker pixels of the figures in the official repository (huijieZH/Diffusion-Model-Generalizability), to about
0.003, and to about 0.01 where markers overlap. Whether those files show the paper's CIFAR-10 runs or its later
teacher-student rerun is not stated there. CIFAR-10, U-Nets of base width 64, 128 and 256, SSCD similarity > 0.6.
`SIMILARITY` holds numbers that are printed in Fig. 6. Used in chapters 1 and 2.
"""

SIZES = tuple(2**k for k in range(6, 16))

# Fig. 2: RP of two widths that saw the same N images.
RP = {
    (64, 128): (.69, .66, .595, .526, .461, .422, .339, .18, .45, .672),
    (64, 256): (.62, .62, .545, .465, .37, .295, .097, .021, .494, .609),
    (128, 256): (.647, .634, .559, .483, .408, .329, .170, .171, .450, .845),
}

# Fig. 2: GL of one width.
GL = {
    64: (0, 0, 0, 0, .004, .22, .865, .99, .995, .996),
    128: (0, 0, 0, 0, 0, .01, .28, .817, .98, .99),
    256: (0, 0, 0, 0, .025, .008, .048, .30, .987, .983),
}

# Fig. 4, left: RP between a trained network (Heun) and the optimal denoiser of the same images (Euler, in their code).
RP_OPTIMAL = {
    64: (.476, .455, .375, .278, .199, .122, .033, .004, .001, .001),
    128: (.51, .466, .372, .304, .245, .168, .112, .041, .005, .003),
    256: (.512, .463, .396, .330, .275, .211, .149, .104, .003, .003),
}

# Fig. 6: checkpoints released by their authors, CIFAR-10. RP above the diagonal, MAE score below it; the version numbers
# stand for a table of the paper's appendix that we could not check.
SYSTEMS = ("DDPMv4", "DDPMv6", "Multistagev1", "EDMv1", "UViT", "CT", "Progressivev1")
SIMILARITY = (
    (None, .89, .86, .83, .81, .81, .88),
    (.92, None, .84, .83, .78, .80, .87),
    (.85, .87, None, .78, .80, .76, .86),
    (.85, .87, .81, None, .74, .76, .85),
    (.84, .82, .76, .76, None, .70, .82),
    (.75, .77, .77, .72, .68, None, .91),
    (.88, .90, .87, .86, .84, .83, None),
)


def rp_of(rows) -> list[list[float]]:
    """RP of some of the `SYSTEMS`, numbers `rows`: a symmetric matrix, 1 on its diagonal."""
    return [[1.0 if i == j else SIMILARITY[min(i, j)][max(i, j)] for j in rows] for i in rows]
